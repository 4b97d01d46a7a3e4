//! `keyway subscription watch`: a picture that refreshes.

use super::{describe, keys, list};
use crate::{
    failure::Failure,
    http::{Http, encoded},
    output::{Output, elements, json_line, print},
    stop_signal::StopSignals,
};
use clap::Args;
use keyway_record::TopicName;
use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Keys of the picture.
const KEYS: usize = 10;

/// Show all subscriptions, or one with its keys and rates, again and again until Ctrl-C
#[derive(Args)]
pub(super) struct Watch {
    /// Topic of the one subscription to watch
    #[arg(value_parser = TopicName::new, requires = "subscription")]
    topic: Option<TopicName>,

    /// The subscription of the topic
    subscription: Option<String>,

    /// Time between two pictures, ms
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    interval_ms: u64,

    /// Stop after so many pictures
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,

    /// Pictures for people, or one JSON object each
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    http: Http,
}

/// Counts of one subscription at a moment, from which rates follow.
struct Counts {
    at: Instant,
    delivered: u64,
    acked: u64,
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut stop = StopSignals::listen()?;
        let mut screen = Screen::new(self.output);
        let mut before = None;
        let mut shown = 0;
        loop {
            let picture = tokio::select! {
                biased;
                stopped = stop.next() => return Err(stopped),
                picture = self.picture(&mut before) => picture,
            };
            match picture {
                Ok(text) => screen.show(&text)?,
                // A restart of the broker is what people watch for.
                Err(Failure::Unavailable(line)) if screen.is_terminal => screen.show(&format!("{line}\n"))?,
                Err(failure) => return Err(failure),
            }
            shown += 1;
            if self.count.is_some_and(|count| shown >= count) {
                return Ok(());
            }
            tokio::select! {
                biased;
                stopped = stop.next() => return Err(stopped),
                () = tokio::time::sleep(Duration::from_millis(self.interval_ms)) => {}
            }
        }
    }

    async fn picture(&self, before: &mut Option<Counts>) -> Result<String, Failure> {
        let (Some(topic), Some(name)) = (&self.topic, &self.subscription) else {
            let all = self.http.get("/api/v1/subscriptions").await?;
            return Ok(if self.output == Output::Json {
                json_line(&all)
            } else {
                list::table(elements(&all["subscriptions"])).text()
            });
        };
        let path = format!("/api/v1/topics/{}/subscriptions/{}", encoded(topic.as_str()), encoded(name));
        let one = self.http.get(&path).await?;
        let keys = self.http.get(&format!("{path}/keys?order=backlog&limit={KEYS}")).await?;
        if self.output == Output::Json {
            return Ok(json_line(&json!({"subscription": one, "keys": keys["keys"]})));
        }
        let now = Counts::of(&one);
        let rates = now.rates(before.as_ref());
        *before = Some(now);
        let mut text = describe::text(&one);
        let keys = elements(&keys["keys"]);
        if !keys.is_empty() {
            text += &format!("\n{}", keys::table(keys).text());
        }
        Ok(format!("{rates}\n{text}"))
    }
}

impl Counts {
    fn of(one: &Value) -> Self {
        let partitions = || elements(&one["partition_views"]).iter();
        let sum =
            |name: &str| partitions().filter_map(|partition| partition["counters"][name].as_u64()).sum();
        Self { at: Instant::now(), delivered: sum("delivered"), acked: sum("acked") }
    }

    fn rates(&self, before: Option<&Self>) -> String {
        let Some(before) = before else { return "rates         come with the next picture".to_owned() };
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        // Counts begin anew with their owner.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        format!(
            "rates         {:.0}/s delivered, {:.0}/s acked",
            rate(self.delivered, before.delivered),
            rate(self.acked, before.acked)
        )
    }
}

/// Where pictures go: over each other on a terminal, one after another elsewhere.
struct Screen {
    is_terminal: bool,
}

/// The other screen, so that what was there comes back; no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

impl Screen {
    fn new(output: Output) -> Self {
        let is_terminal = output == Output::Text && io::stdout().is_terminal();
        if is_terminal {
            // Whether it arrives shows with the first picture.
            _ = print(ENTER);
        }
        Self { is_terminal }
    }

    fn show(&mut self, text: &str) -> Result<(), Failure> {
        if !self.is_terminal {
            return print(text);
        }
        let size = tcgetwinsize(io::stdout()).map(|size| (size.ws_row, size.ws_col));
        let (rows, columns) = size.unwrap_or((24, 80));
        print(&frame(text, usize::from(rows.max(2)), usize::from(columns.max(20))))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let mut out = io::stdout().lock();
            // Nobody is left to tell.
            _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        }
    }
}

/// The text from the top left corner, cut to the screen; what a longer line or picture left behind is erased.
fn frame(text: &str, rows: usize, columns: usize) -> String {
    let mut frame = "\x1b[H".to_owned();
    for line in text.lines().take(rows - 1) {
        frame.extend(line.chars().take(columns));
        frame += "\x1b[K\r\n";
    }
    frame + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_scrolls() {
        assert_eq!(frame("abc\nd\ne\nf\n", 3, 2), "\x1b[Hab\x1b[K\r\nd\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn rates_follow_from_two_pictures() {
        let at = Instant::now();
        let before = Counts { at, delivered: 100, acked: 50 };
        let now = Counts { at: at + Duration::from_secs(2), delivered: 300, acked: 10 };
        assert_eq!(now.rates(Some(&before)), "rates         100/s delivered, 0/s acked");
    }
}
