//! The group protocol of KIP-848: members come, are given partitions, hand them over, go, and get things wrong.

use serde_json::{Value, json};

use super::super::side::Side;
use super::commits::commit;

const UNKNOWN_ID: &str = "0123456789abcdef0123456789abcdef";

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("shared", 4).await?;
    refused(side, &id).await?;
    for version in side.versions("ConsumerGroupHeartbeat")? {
        alone(side, version, &id).await?;
    }
    together(side).await?;
    of_instances(side).await
}

fn heartbeat(group: &str, member: &str, epoch: i64) -> Value {
    json!({"GroupId": group, "MemberId": member, "MemberEpoch": epoch})
}

fn join(group: &str, member: &str) -> Value {
    let mut request = heartbeat(group, member, 0);
    request["RebalanceTimeoutMs"] = json!(5000);
    request["SubscribedTopicNames"] = json!(["shared"]);
    request["TopicPartitions"] = json!([]);
    request
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

async fn refused(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    for version in side.versions("ConsumerGroupHeartbeat")? {
        let group = &format!("refusing-{version}");
        let joins = || join(group, "a-member");
        for (step, request) in [
            ("no group", with(joins(), "GroupId", json!(""))),
            ("no member", with(heartbeat(group, "", 5), "RebalanceTimeoutMs", json!(-1))),
            ("no timeout", with(joins(), "RebalanceTimeoutMs", json!(-1))),
            ("no topics", with(joins(), "SubscribedTopicNames", Value::Null)),
            ("no owned partitions", with(joins(), "TopicPartitions", Value::Null)),
            (
                "owned partitions",
                with(joins(), "TopicPartitions", json!([{"TopicId": id, "Partitions": [0]}])),
            ),
            ("an unknown assignor", with(joins(), "ServerAssignor", json!("unheard"))),
            ("an empty assignor", with(joins(), "ServerAssignor", json!(""))),
            ("an empty instance", with(joins(), "InstanceId", json!(""))),
            ("an empty rack", with(joins(), "RackId", json!(""))),
            ("an unknown group", heartbeat("never-seen", "a-member", 3)),
            ("epoch -2 without an instance", heartbeat(group, "a-member", -2)),
            ("epoch -3", heartbeat(group, "a-member", -3)),
            ("leaves an unknown group", heartbeat("never-seen", "a-member", -1)),
        ] {
            side.ask(step, "ConsumerGroupHeartbeat", version, request).await?;
        }
        if version >= 1 {
            for regex in ["(", "a**", "\\xZZ"] {
                let request = with(joins(), "SubscribedTopicNames", Value::Null);
                let request = with(request, "SubscribedTopicRegex", json!(regex));
                side.ask(&format!("regex {regex}"), "ConsumerGroupHeartbeat", version, request).await?;
            }
        }
    }
    Ok(())
}

/// What a member was told last.
struct Member {
    group: String,
    id: String,
    epoch: i64,
    owned: Value,
}

impl Member {
    fn new(group: &str, id: &str) -> Self {
        Self { group: group.to_owned(), id: id.to_owned(), epoch: 0, owned: json!([]) }
    }

    /// Heartbeats until the member has `count` partitions. How many answers that takes is the broker's affair.
    async fn settle(&mut self, side: &mut Side<'_>, count: usize) -> anyhow::Result<()> {
        let mut request = join(&self.group, &self.id);
        if self.epoch > 0 {
            request =
                with(heartbeat(&self.group, &self.id, self.epoch), "TopicPartitions", self.owned.clone());
        }
        let has = |owned: &Value| {
            let topics = owned.as_array().into_iter().flatten();
            topics.map(|topic| topic["Partitions"].as_array().map_or(0, Vec::len)).sum::<usize>()
        };
        for _ in 0..HEARTBEATS_MAX {
            let answer = side.look("ConsumerGroupHeartbeat", 1, request).await?;
            anyhow::ensure!(answer["ErrorCode"] == 0, "{} is refused: {answer}", self.id);
            self.epoch = answer["MemberEpoch"].as_i64().unwrap_or_default();
            if answer["Assignment"].is_object() {
                self.owned = answer["Assignment"]["TopicPartitions"].clone();
            }
            if has(&self.owned) == count {
                // Says that it has what it was given.
                let request =
                    with(heartbeat(&self.group, &self.id, self.epoch), "TopicPartitions", self.owned.clone());
                side.look("ConsumerGroupHeartbeat", 1, request).await?;
                return Ok(());
            }
            request =
                with(heartbeat(&self.group, &self.id, self.epoch), "TopicPartitions", self.owned.clone());
            side.pause().await;
        }
        anyhow::bail!("{} has {} instead of {count} partitions", self.id, has(&self.owned))
    }

    fn beat(&self) -> Value {
        heartbeat(&self.group, &self.id, self.epoch)
    }
}

/// Far more than any reconciliation takes.
const HEARTBEATS_MAX: usize = 200;

async fn alone(side: &mut Side<'_>, version: i16, id: &Value) -> anyhow::Result<()> {
    let group = &format!("alone-848-{version}");
    let mut member = Member::new(group, &format!("member-{version}"));
    side.name(&json!(member.id), "member");
    member.settle(side, 4).await?;
    for (step, request) in [
        ("settled", member.beat()),
        ("in full", with(join(group, &member.id), "MemberEpoch", json!(member.epoch))),
        ("a far epoch", heartbeat(group, &member.id, member.epoch + 10)),
        ("a stranger", heartbeat(group, "stranger", 1)),
        ("joins again", join(group, &member.id)),
    ] {
        side.ask(step, "ConsumerGroupHeartbeat", version, request).await?;
    }
    member.epoch = 0;
    member.settle(side, 4).await?;
    let epoch = member.epoch;
    let request = json!({"GroupIds": [group]});
    side.ask_all("one", "ConsumerGroupDescribe", |_| request.clone()).await?;
    side.ask_all("a consumer group", "DescribeGroups", |_| json!({"Groups": [group]})).await?;
    for version in side.versions("ListGroups")? {
        let request = json!({"StatesFilter": ["Stable"], "TypesFilter": ["consumer"]});
        side.ask("consumer groups", "ListGroups", version, request).await?;
    }
    let commits = |member: &str, epoch: i64| {
        let mut request = commit(group, "shared", id, 0, 7);
        request["MemberId"] = json!(member);
        request["GenerationIdOrMemberEpoch"] = json!(epoch);
        request
    };
    for (step, request) in [
        ("of the member", commits(&member.id, epoch)),
        ("of a later epoch", commits(&member.id, epoch + 5)),
        ("of a stranger", commits("stranger", epoch)),
        ("of nobody", commits("", -1)),
    ] {
        for commit_version in [8, 9, 10] {
            side.ask(step, "OffsetCommit", commit_version, request.clone()).await?;
        }
    }
    for (step, id, epoch) in [
        ("of the member", member.id.as_str(), epoch),
        ("of a later epoch", &member.id, epoch + 5),
        ("of a stranger", "stranger", epoch),
    ] {
        for fetch_version in [9, 10] {
            let groups = json!([{"GroupId": group, "MemberId": id, "MemberEpoch": epoch, "Topics": null}]);
            side.ask(step, "OffsetFetch", fetch_version, json!({"Groups": groups})).await?;
        }
    }
    let classic = json!({"GroupId": group, "SessionTimeoutMs": 10000, "MemberId": "", "ProtocolType": "connect",
        "Protocols": [{"Name": "range", "Metadata": "00"}]});
    side.ask("of another kind", "JoinGroup", 3, classic).await?;
    side.ask("a living group", "DeleteGroups", 2, json!({"GroupsNames": [group]})).await?;
    side.ask("leaves", "ConsumerGroupHeartbeat", version, heartbeat(group, &member.id, -1)).await?;
    side.ask("leaves again", "ConsumerGroupHeartbeat", version, heartbeat(group, &member.id, -1)).await?;
    side.ask("an empty group", "ConsumerGroupDescribe", 1, json!({"GroupIds": [group]})).await?;
    side.ask("the empty group", "DeleteGroups", 2, json!({"GroupsNames": [group]})).await?;
    Ok(())
}

/// A second member takes half of the partitions over, a third has other topics.
async fn together(side: &mut Side<'_>) -> anyhow::Result<()> {
    let group = "together-848";
    let (mut first, mut second) = (Member::new(group, "first-member"), Member::new(group, "second-member"));
    side.name(&json!(first.id), "first");
    side.name(&json!(second.id), "second");
    first.settle(side, 4).await?;
    // The second cannot have its half before the first has given it up.
    second.settle(side, 0).await?;
    first.settle(side, 2).await?;
    second.settle(side, 2).await?;
    first.settle(side, 2).await?;
    let describe = || json!({"GroupIds": [group]});
    side.ask("two members", "ConsumerGroupDescribe", 1, describe()).await?;
    let unknown = with(first.beat(), "TopicPartitions", json!([{"TopicId": UNKNOWN_ID, "Partitions": [0]}]));
    side.ask("owns what is not there", "ConsumerGroupHeartbeat", 1, unknown).await?;
    side.ask("the second leaves", "ConsumerGroupHeartbeat", 1, heartbeat(group, &second.id, -1)).await?;
    first.settle(side, 4).await?;
    side.ask("one is left", "ConsumerGroupDescribe", 1, describe()).await?;
    side.ask("leaves", "ConsumerGroupHeartbeat", 1, heartbeat(group, &first.id, -1)).await?;
    Ok(())
}

async fn of_instances(side: &mut Side<'_>) -> anyhow::Result<()> {
    let group = "instances-848";
    let of = |request: Value| with(request, "InstanceId", json!("an-instance"));
    let first = side.look("ConsumerGroupHeartbeat", 1, of(join(group, "instance-one"))).await?;
    let epoch = first["MemberEpoch"].as_i64().unwrap_or_default();
    side.name(&json!("instance-one"), "instance one");
    side.name(&json!("instance-two"), "instance two");
    for (step, request) in [
        ("the instance is in use", of(join(group, "instance-two"))),
        ("without its instance", heartbeat(group, "instance-one", epoch)),
        ("another instance", with(heartbeat(group, "instance-one", epoch), "InstanceId", json!("unheard"))),
        ("goes for a while", of(heartbeat(group, "instance-one", -2))),
    ] {
        side.ask(step, "ConsumerGroupHeartbeat", 1, request).await?;
    }
    side.look("ConsumerGroupHeartbeat", 1, of(join(group, "instance-two"))).await?;
    for (step, request) in [
        ("the former self", of(heartbeat(group, "instance-one", epoch))),
        ("the former self leaves", of(heartbeat(group, "instance-one", -1))),
        ("leaves for good", of(heartbeat(group, "instance-two", -1))),
    ] {
        side.ask(step, "ConsumerGroupHeartbeat", 1, request).await?;
    }
    Ok(())
}
