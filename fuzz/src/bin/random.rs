//! The targets on any Rust: seeds changed at random for so many seconds each. `random SECONDS [SEED] [TARGET…]`
//!
//! Without a fuzzer's eyes it finds less, and it runs anywhere. A panic names the seed and the number of the input, which
//! repeat it; an input that takes longer than [`SLOW`] is a finding too.

use bytes::Bytes;
use keyway_fuzz::{TARGETS, Target, decompress::CODECS};
use keyway_kafka_wire::compression::compress;
use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Of one input, on a busy machine.
const SLOW: Duration = Duration::from_secs(2);
const CHANGES_MAX: u64 = 5;
const SPLICE_BYTES_MAX: u64 = 40;

/// What to begin with, by target.
type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().ok_or("random SECONDS [SEED] [TARGET…]")?.parse()?;
    let seed = args.next().map_or(Ok(u64::from(std::process::id())), |seed| seed.parse())?;
    let names: Vec<String> = args.collect();
    let seeds = seeds()?;
    let (mut passed, mut failed) = (0, 0);
    for target in TARGETS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|one| one == name)) {
        match fuzz(*target, &seeds[target.0], Duration::from_secs(seconds), seed) {
            Ok(inputs) => {
                passed += 1;
                println!(
                    "pass {:<12} {inputs} inputs from {} seeds; seed {seed}",
                    target.0,
                    seeds[target.0].len()
                );
            }
            Err(found) => {
                failed += 1;
                println!("fail {:<12} {found}; seed {seed}", target.0);
            }
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn fuzz((_, run): Target, seeds: &[Vec<u8>], time: Duration, seed: u64) -> Result<u64, String> {
    let mut random = Random(seed);
    let begun = Instant::now();
    let mut inputs = 0;
    while begun.elapsed() < time {
        let input = changed(seeds, &mut random);
        let before = Instant::now();
        catch_unwind(AssertUnwindSafe(|| run(&input)))
            .map_err(|_| format!("input {inputs} panics: {}", hex(&input)))?;
        if before.elapsed() > SLOW {
            return Err(format!("input {inputs} takes {:?}: {}", before.elapsed(), hex(&input)));
        }
        inputs += 1;
    }
    Ok(inputs)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(CHANGES_MAX as usize) {
        let at = random.below(input.len());
        match random.below(6) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 if !input.is_empty() => input[at] = EDGES[random.below(EDGES.len())],
            2 => input.truncate(at),
            3 => {
                let new: Vec<u8> =
                    (0..random.below(SPLICE_BYTES_MAX as usize)).map(|_| random.next() as u8).collect();
                input.splice(at..at, new);
            }
            4 if input.len() >= at + 4 => {
                let length = [0, -1, 1, i32::MAX, i32::MIN][random.below(5)];
                input[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    input
}

/// Seeds by target, in the files of `fuzz/seeds/TARGET` or made by [`golden`].
fn seeds() -> Result<Seeds, Box<dyn Error>> {
    let mut seeds = golden()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (target, of_target) in &mut seeds {
        let Ok(files) = fs::read_dir(folder.join(target)) else { continue };
        let mut paths: Vec<_> = files.map(|file| Ok(file?.path())).collect::<std::io::Result<_>>()?;
        paths.sort();
        for path in paths {
            of_target.push(fs::read(path)?);
        }
    }
    Ok(seeds)
}

/// Requests and responses from Kafka's own bytes of every message, and what little the others need to begin with.
fn golden() -> Result<Seeds, Box<dyn Error>> {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/kafka-wire");
    let mut apis = BTreeMap::new();
    let table = fs::read_to_string(wire.join("messages/apis.txt"))?;
    for line in table.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [key, name, _, _, flexible] = words[..] else { return Err(format!("no API: {line}").into()) };
        let first: String = flexible.chars().take_while(char::is_ascii_digit).collect();
        apis.insert(name, (key.parse::<i16>()?, first.parse::<i16>().unwrap_or(i16::MAX)));
    }
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    let lines = fs::read_to_string(wire.join("tests/messages/golden/golden.txt"))?;
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, side, version) = (words[0], words[1], words[2]);
        let Some(&(key, flexible)) = apis.get(name) else { continue };
        let version: i16 = version.parse()?;
        let digits = words[3].as_bytes().chunks_exact(2);
        let body: Result<Vec<u8>, _> =
            digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap_or("-"), 16)).collect();
        let body = body?;
        if side == "request" {
            let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 0, 0, 1, b'c']].concat();
            let tags: &[u8] = if version >= flexible { &[0] } else { &[] };
            requests.push([&head, tags, &body].concat());
        } else if side == "response" {
            responses.push([&key.to_be_bytes()[..], &[version as u8], &body].concat());
        }
    }
    let batch = |attributes: u8, section: &[u8]| {
        let mut batch = vec![0; 61];
        batch[16] = 2;
        batch[22] = attributes;
        batch[60] = 1;
        [&batch, section].concat()
    };
    let record = [0x14, 0, 0, 0, 2, b'k', 6, b'v', b'a', b'l', 0];
    let plain: &[&[u8]] = &[
        b"\0alice\0secret",
        b"alice\0alice\0secret",
        b"n,,n=user,r=abc",
        b"n,a=user,n=user,r=abc,tokenauth=false",
        b"n,a=user,\x01host=h\x01auth=Bearer abc.def-_~+/==\x01\x01",
        b"c=biws,r=abcnonce,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ];
    let settings: &[&[u8]] = &[
        b"org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"b\" username='c';",
        b"RULE:^CN=(.*?),OU=(.*)$/$1@$2/L,RULE:^.*[Cc][Nn]=([a-z]*).*$/$1/,DEFAULT\nCN=ann,OU=x",
    ];
    let danube: &[&[u8]] = &[
        b"\0\x08\x01\x12\x12\x08\x01\x12\x0e/default/orders\x1a\x05hello",
        b"\x01\x08\x01\x12\x01p\x1a\x0f/default/orders",
        b"\x02\x08\x01\x12\x0f/default/orders\x1a\x01c\x22\x01s",
    ];
    let owned = |seeds: &[&[u8]]| seeds.iter().map(|seed| seed.to_vec()).collect::<Vec<_>>();
    let section = Bytes::from(record.repeat(20));
    let compressed = CODECS.map(|codec| compress(codec, &section));
    let sections =
        compressed.iter().enumerate().map(|(codec, section)| [&[codec as u8], &section[..]].concat());
    let batches = compressed.iter().zip(1..).map(|(section, codec)| batch(codec, section));
    Ok(BTreeMap::from([
        ("request", requests),
        ("response", responses),
        ("record_batch", batches.chain([batch(0, &record)]).collect()),
        ("decompress", sections.collect()),
        ("danube", owned(danube)),
        ("login", owned(plain)),
        ("settings", owned(settings)),
    ]))
}
