//! The classic group protocol: one member, two members, static members, and everything that a member may get wrong.

use serde_json::{Value, json};

use super::super::side::Side;
use super::commits::commit;

/// A subscription to the topic `grouped`: version 0, one topic, no user data.
const METADATA: &str = "000000000001000767726f75706564ffffffff";
/// Bytes that only members understand.
const ASSIGNMENT: &str = "0a0b0c";

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("grouped", 2).await?;
    for version in side.versions("JoinGroup")? {
        alone(side, version, &id).await?;
    }
    refused_to_join(side).await?;
    for version in [3, 5, 9] {
        together(side, version).await?;
    }
    for version in [5, 9] {
        of_instances(side, version).await?;
    }
    Ok(())
}

/// The version of another API that goes with a version of JoinGroup.
fn along(side: &Side<'_>, api: &str, join_version: i16) -> anyhow::Result<i16> {
    let versions = side.versions(api)?;
    Ok((join_version * versions.end() / 9).clamp(*versions.start(), *versions.end()))
}

fn join(group: &str, member: &str) -> Value {
    json!({
        "GroupId": group,
        "SessionTimeoutMs": 10000,
        "RebalanceTimeoutMs": 5000,
        "MemberId": member,
        "ProtocolType": "consumer",
        "Protocols": [{"Name": "range", "Metadata": METADATA}, {"Name": "own", "Metadata": "ff"}],
    })
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_default().to_owned()
}

/// Joins as a new member, which takes two requests from version 4 on.
async fn join_anew(side: &mut Side<'_>, group: &str, version: i16, name: &str) -> anyhow::Result<Value> {
    let first = side.ask(&format!("{name} comes"), "JoinGroup", version, join(group, "")).await?;
    side.name(&first["MemberId"], name);
    match version {
        0..=3 => Ok(first),
        _ => {
            let member = text(&first, "MemberId");
            side.ask(&format!("{name} joins"), "JoinGroup", version, join(group, &member)).await
        }
    }
}

fn sync(group: &str, generation: &Value, member: &str, of: &[&str]) -> Value {
    let assignments: Vec<Value> =
        of.iter().map(|member| json!({"MemberId": member, "Assignment": ASSIGNMENT})).collect();
    json!({
        "GroupId": group,
        "GenerationId": generation,
        "MemberId": member,
        "ProtocolType": "consumer",
        "ProtocolName": "range",
        "Assignments": assignments,
    })
}

fn heartbeat(group: &str, generation: &Value, member: &str) -> Value {
    json!({"GroupId": group, "GenerationId": generation, "MemberId": member})
}

fn leave(group: &str, member: &str) -> Value {
    json!({"GroupId": group, "MemberId": member, "Members": [{"MemberId": member}]})
}

async fn alone(side: &mut Side<'_>, version: i16, id: &Value) -> anyhow::Result<()> {
    let group = &format!("alone-{version}");
    let joined = join_anew(side, group, version, "member").await?;
    let (member, generation) = (&text(&joined, "MemberId"), &joined["GenerationId"]);
    let (sync_version, beat_version) =
        (along(side, "SyncGroup", version)?, along(side, "Heartbeat", version)?);

    side.ask("before the sync", "Heartbeat", beat_version, heartbeat(group, generation, member)).await?;
    side.ask("not assigned yet", "OffsetCommit", 8, of_member(group, id, generation, member)).await?;
    side.ask("not assigned yet", "DescribeGroups", 5, json!({"Groups": [group]})).await?;
    for (step, request) in [
        ("of a stranger", sync(group, generation, "stranger", &[])),
        ("of another generation", sync(group, &json!(77), member, &[])),
        ("of an unknown group", sync("never-seen", generation, member, &[])),
        ("of no group", sync("", generation, member, &[])),
        ("of another type", {
            let mut request = sync(group, generation, member, &[]);
            request["ProtocolType"] = json!("connect");
            if sync_version >= 5 { request } else { sync(group, generation, "stranger", &[]) }
        }),
        ("of another protocol", {
            let mut request = sync(group, generation, member, &[]);
            request["ProtocolName"] = json!("own");
            if sync_version >= 5 { request } else { sync(group, generation, "stranger", &[]) }
        }),
        ("of the leader", sync(group, generation, member, &[member])),
        ("again", sync(group, generation, member, &[member])),
    ] {
        side.ask(step, "SyncGroup", sync_version, request).await?;
    }
    for (step, request) in [
        ("of the member", heartbeat(group, generation, member)),
        ("of a stranger", heartbeat(group, generation, "stranger")),
        ("of another generation", heartbeat(group, &json!(77), member)),
        ("of an unknown group", heartbeat("never-seen", generation, member)),
        ("of no group", heartbeat("", generation, member)),
    ] {
        side.ask(step, "Heartbeat", beat_version, request).await?;
    }
    for (step, request) in [
        ("of the member", of_member(group, id, generation, member)),
        ("of another generation", of_member(group, id, &json!(77), member)),
        ("of a stranger", of_member(group, id, generation, "stranger")),
        ("of nobody", commit(group, "grouped", id, 0, 5)),
    ] {
        for commit_version in [2, 8, 9, 10] {
            side.ask(step, "OffsetCommit", commit_version, request.clone()).await?;
        }
    }
    if version == 9 {
        seen_by_others(side, group).await?;
    }
    // The leader starts a round by joining again, a follower would not.
    side.ask("joins again", "JoinGroup", version, join(group, member)).await?;
    let delete =
        json!({"GroupId": group, "Topics": [{"Name": "grouped", "Partitions": [{"PartitionIndex": 0}]}]});
    side.ask("of a living group", "OffsetDelete", 0, delete).await?;
    side.ask("a living group", "DeleteGroups", 2, json!({"GroupsNames": [group]})).await?;
    let leave_version = along(side, "LeaveGroup", version)?;
    side.ask("of a stranger", "LeaveGroup", leave_version, leave(group, "stranger")).await?;
    side.ask("of an unknown group", "LeaveGroup", leave_version, leave("never-seen", member)).await?;
    side.ask("of no group", "LeaveGroup", leave_version, leave("", member)).await?;
    side.ask("of the member", "LeaveGroup", leave_version, leave(group, member)).await?;
    side.ask("again", "LeaveGroup", leave_version, leave(group, member)).await?;
    side.ask("gone", "Heartbeat", beat_version, heartbeat(group, generation, member)).await?;
    side.ask("left", "DescribeGroups", 6, json!({"Groups": [group]})).await?;
    side.ask("the empty group", "DeleteGroups", 2, json!({"GroupsNames": [group]})).await?;
    Ok(())
}

fn of_member(group: &str, id: &Value, generation: &Value, member: &str) -> Value {
    let mut request = commit(group, "grouped", id, 0, 5);
    request["GenerationIdOrMemberEpoch"] = generation.clone();
    request["MemberId"] = json!(member);
    request
}

async fn seen_by_others(side: &mut Side<'_>, group: &str) -> anyhow::Result<()> {
    for version in side.versions("DescribeGroups")? {
        let mut request = json!({"Groups": [group]});
        request["IncludeAuthorizedOperations"] = json!(version >= 3);
        side.ask("stable", "DescribeGroups", version, request).await?;
    }
    side.ask_all("a classic group", "ConsumerGroupDescribe", |_| json!({"GroupIds": [group]})).await?;
    for version in side.versions("ListGroups")? {
        let mut request = json!({"StatesFilter": ["Stable"]});
        side.ask("stable", "ListGroups", version, request.clone()).await?;
        request["TypesFilter"] = json!(["classic"]);
        side.ask("stable and classic", "ListGroups", version, request).await?;
        for (step, states, types) in [
            ("of small letters", json!(["stable"]), json!([])),
            ("of an unknown state", json!(["Sleeping"]), json!([])),
            ("of another type", json!([]), json!(["consumer"])),
            ("of an unknown type", json!([]), json!(["unheard"])),
            ("all", json!([]), json!([])),
        ] {
            let request = json!({"StatesFilter": states, "TypesFilter": types});
            side.ask(step, "ListGroups", version, request).await?;
        }
    }
    Ok(())
}

async fn refused_to_join(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in [0, 1, 3, 4, 5, 7, 9] {
        let with = |name: &str, value: Value| {
            let mut request = join(&format!("refused-{version}"), "");
            request[name] = value;
            request
        };
        for (step, request) in [
            ("no group", with("GroupId", json!(""))),
            ("a short session", with("SessionTimeoutMs", json!(1))),
            ("a long session", with("SessionTimeoutMs", json!(i32::MAX))),
            ("no session", with("SessionTimeoutMs", json!(-1))),
            ("no protocol", with("Protocols", json!([]))),
            ("no type", with("ProtocolType", json!(""))),
            ("an unknown member", with("MemberId", json!("stranger"))),
        ] {
            side.ask(step, "JoinGroup", version, request).await?;
        }
        if version >= 5 {
            for (step, instance) in [("an empty instance", ""), ("a bad instance", "a/b"), ("a dot", ".")] {
                side.ask(step, "JoinGroup", version, with("GroupInstanceId", json!(instance))).await?;
            }
        }
    }
    Ok(())
}

/// Two members: a round, another when the second comes, and what the first is told meanwhile.
async fn together(side: &mut Side<'_>, version: i16) -> anyhow::Result<()> {
    let group = &format!("together-{version}");
    let joined = join_anew(side, group, version, "leader").await?;
    let (leader, generation) = (&text(&joined, "MemberId"), joined["GenerationId"].clone());
    side.ask("alone", "SyncGroup", 3, sync(group, &generation, leader, &[leader])).await?;

    let follower = &match version {
        0..=3 => String::new(),
        _ => {
            let known = side.look("JoinGroup", version, join(group, "")).await?;
            side.name(&known["MemberId"], "follower");
            text(&known, "MemberId")
        }
    };
    side.send("follower", "JoinGroup", version, join(group, follower)).await?;
    let request = heartbeat(group, &generation, leader);
    let told = |answer: &Value| answer["ErrorCode"] != 0;
    side.ask_until("a round begins", "Heartbeat", 3, request, told).await?;
    side.ask("a round begins", "DescribeGroups", 5, json!({"Groups": [group]})).await?;
    let again = side.ask("the leader joins", "JoinGroup", version, join(group, leader)).await?;
    let joined = side.answer("follower", "the follower joins").await?;
    let (follower, generation) = (&text(&joined, "MemberId"), again["GenerationId"].clone());
    side.name(&joined["MemberId"], "follower");

    side.send("follower", "SyncGroup", 5, sync(group, &generation, follower, &[])).await?;
    side.ask("the leader", "SyncGroup", 5, sync(group, &generation, leader, &[leader, follower])).await?;
    side.answer("follower", "the follower").await?;
    side.ask("two", "DescribeGroups", 5, json!({"Groups": [group]})).await?;
    // Nothing has changed for the follower.
    side.ask("the follower joins again", "JoinGroup", version, join(group, follower)).await?;
    let mut other = join(group, follower);
    other["Protocols"] = json!([{"Name": "unshared", "Metadata": "00"}]);
    side.ask("no shared protocol", "JoinGroup", version, other).await?;
    let mut other = join(group, follower);
    other["ProtocolType"] = json!("connect");
    side.ask("another type", "JoinGroup", version, other).await?;
    side.ask("the leader leaves", "LeaveGroup", 3, leave(group, leader)).await?;
    side.ask("the leader has left", "Heartbeat", 3, heartbeat(group, &generation, follower)).await?;
    side.ask("the follower leaves", "LeaveGroup", 5, leave(group, follower)).await?;
    Ok(())
}

/// A static member comes back under a new id, and its former self is fenced.
async fn of_instances(side: &mut Side<'_>, version: i16) -> anyhow::Result<()> {
    let group = &format!("instances-{version}");
    let with = |member: &str| {
        let mut request = join(group, member);
        request["GroupInstanceId"] = json!("instance");
        request
    };
    let joined = side.ask("comes", "JoinGroup", version, with("")).await?;
    let (first, generation) = (&text(&joined, "MemberId"), &joined["GenerationId"]);
    side.name(&joined["MemberId"], "first self");
    side.ask("syncs", "SyncGroup", 5, sync(group, generation, first, &[first])).await?;
    let joined = side.ask("comes back", "JoinGroup", version, with("")).await?;
    let second = &text(&joined, "MemberId");
    side.name(&joined["MemberId"], "second self");
    let generation = &joined["GenerationId"];
    side.ask("syncs", "SyncGroup", 5, sync(group, generation, second, &[second])).await?;
    let of = |mut request: Value| {
        request["GroupInstanceId"] = json!("instance");
        request
    };
    side.ask("first self", "Heartbeat", 4, of(heartbeat(group, generation, first))).await?;
    side.ask("first self", "SyncGroup", 5, of(sync(group, generation, first, &[]))).await?;
    side.ask("first self", "JoinGroup", version, with(first)).await?;
    let mut commits = commit(group, "grouped", &Value::from("0".repeat(32)), 0, 1);
    commits["GenerationIdOrMemberEpoch"] = generation.clone();
    commits["MemberId"] = json!(first);
    side.ask("first self", "OffsetCommit", 9, of(commits)).await?;
    side.ask("second self", "Heartbeat", 4, of(heartbeat(group, generation, second))).await?;
    side.ask("one", "DescribeGroups", 5, json!({"Groups": [group]})).await?;
    for (step, member, instance) in [
        ("first self", first.as_str(), json!("instance")),
        ("unknown instance", "", json!("unheard")),
        ("by instance", "", json!("instance")),
    ] {
        let members = json!([{"MemberId": member, "GroupInstanceId": instance}]);
        side.ask(step, "LeaveGroup", 5, json!({"GroupId": group, "Members": members})).await?;
    }
    Ok(())
}
