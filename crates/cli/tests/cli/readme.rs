//! What the README tells people to type about subscriptions and dead letters works as it is written there.

use crate::keyway::Server;

const README: &str = include_str!("../../../../README.md");

/// The commands of a section's shell blocks, without their comments.
fn commands(section: &str) -> Vec<Vec<&'static str>> {
    let (_, after) =
        README.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section}"));
    let text = after.split("\n## ").next().unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap());
    lines.map(|line| line.split_whitespace().skip(1).collect()).collect()
}

#[test]
fn the_readmes_commands_work_in_their_order() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run(["produce", "orders", "-k", "order-1", "-v", "placed"]).good();
    server.run(["subscription", "create", "orders", "fulfilment", "--start", "earliest"]).good();
    let letter =
        ["produce", "orders.fulfilment.dlq", "-k", "order-1", "-v", "paid", "-H", "x-original-topic=orders"];
    server.run(letter).good();
    let mut ran = 0;
    for mut command in commands("Watch subscriptions").into_iter().chain(commands("When workers fail")) {
        if command[1] == "watch" {
            // For a person it goes on until Ctrl-C.
            command.extend(["-n", "1"]);
        }
        let run = server.run(command.iter().copied());
        // Without workers nothing is held yet, which `--key` says by its exit code.
        let idle = command.contains(&"keys") && command.contains(&"--key") && run.code == Some(3);
        assert!(run.code == Some(0) || idle, "{command:?}: {run:?}");
        ran += 1;
    }
    assert!(ran >= 15, "{ran} commands");
    assert_eq!(server.run(["consume", "orders", "-e"]).good().lines(), ["order-1\tplaced", "order-1\tpaid"]);
}
