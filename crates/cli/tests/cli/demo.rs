//! The demo keeps its word, judged here from what it prints.

use crate::keyway::run;
use std::collections::BTreeMap;

const STEPS: [&str; 5] = ["placed", "paid", "packed", "shipped", "delivered"];

#[test]
fn the_demo_shows_every_key_in_order_at_one_worker() {
    let demo = run(["demo"]).good();
    let mut keys: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for line in demo.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [worker, key, step] = words[..]
            && worker.ends_with(':')
        {
            keys.entry(key).or_default().push((worker, step));
        }
    }
    assert_eq!(keys.len(), 8);
    for (key, deliveries) in &keys {
        assert_eq!(deliveries.iter().map(|(_, step)| *step).collect::<Vec<_>>(), STEPS, "{key}");
        assert!(deliveries.iter().all(|(worker, _)| *worker == deliveries[0].0), "{key}");
    }
    assert_eq!(
        demo.lines().last(),
        Some(&"40 messages, 8 keys, 3 workers: every key in order at one worker, 0 lost, 0 duplicated")
    );
}
