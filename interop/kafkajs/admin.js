// The administration of kafkajs: topics, their configs and partitions, offsets of topics and groups, groups, records.

const { ConfigResourceTypes } = require('kafkajs')
const { expect, kafka, numbered, run, until } = require('./scene')

const [TOPIC, GROUP] = ['kafkajs-made', 'kafkajs-idle']

/** What a call is refused with. */
async function refusal(call) {
  try {
    await call()
  } catch (error) {
    return error.errors?.[0]?.type ?? error.type ?? error.groups?.[0]?.error?.type ?? error.message
  }
  return 'nothing'
}

run(async () => {
  const admin = kafka.admin()
  await admin.connect()
  const cluster = await admin.describeCluster()
  expect(cluster.brokers.length === 1 && cluster.controller === cluster.brokers[0].nodeId, JSON.stringify(cluster))

  const topic = { topic: TOPIC, numPartitions: 2, configEntries: [{ name: 'retention.ms', value: '3600000' }] }
  expect(await admin.createTopics({ topics: [topic], validateOnly: true, waitForLeaders: false }), 'a dry run says it was there')
  expect(!(await admin.listTopics()).includes(TOPIC), 'a dry run has made the topic')
  expect(await admin.createTopics({ topics: [topic], waitForLeaders: true }), 'it was there before')
  expect(!(await admin.createTopics({ topics: [topic] })), 'it could be created twice')
  expect((await admin.listTopics()).includes(TOPIC), 'not listed')
  const invalid = [{ topic: 'no such/name', numPartitions: 1 }]
  const refused = await refusal(() => admin.createTopics({ topics: invalid }))
  expect(refused === 'INVALID_TOPIC_EXCEPTION', `a bad name is refused with ${refused}`)

  await admin.createPartitions({ topicPartitions: [{ topic: TOPIC, count: 4 }] })
  await until(async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] })
    return topics[0].partitions.length === 4
  }, () => 'not four partitions')
  const fewer = await refusal(() => admin.createPartitions({ topicPartitions: [{ topic: TOPIC, count: 3 }] }))
  expect(fewer === 'INVALID_PARTITIONS', `fewer partitions are refused with ${fewer}`)

  const resource = { type: ConfigResourceTypes.TOPIC, name: TOPIC }
  const configs = async names => {
    const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames: names }], includeSynonyms: true })
    return new Map(resources[0].configEntries.map(one => [one.configName, one]))
  }
  const before = await configs(['retention.ms', 'cleanup.policy'])
  expect(before.size === 2, `${before.size} of two configs are described`)
  expect(before.get('retention.ms').configValue === '3600000', `retention.ms is ${before.get('retention.ms').configValue}`)
  expect(before.get('cleanup.policy').configSource === 5, `cleanup.policy comes from ${before.get('cleanup.policy').configSource}`)
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] }] })
  // AlterConfigs sets all of them: what it does not name is back at its default. Kafka answers before it is so everywhere.
  let after
  await until(async () => {
    after = await configs(['retention.ms', 'cleanup.policy'])
    return after.get('cleanup.policy').configValue === 'compact' && after.get('retention.ms').configValue === '604800000'
  }, () => `configs are ${[...after.values()].map(one => one.configValue)}`)
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [] }] })
  const wrong = { ...resource, configEntries: [{ name: 'retention.ms', value: 'soon' }] }
  const bad = await refusal(() => admin.alterConfigs({ resources: [wrong] }))
  expect(bad === 'INVALID_CONFIG', `a bad config is refused with ${bad}`)

  const producer = kafka.producer()
  await producer.connect()
  for (let partition = 0; partition < 4; partition += 1) {
    const messages = numbered(0, 10 * (partition + 1), 5).map(one => ({ ...one, partition }))
    await producer.send({ topic: TOPIC, messages })
  }
  await producer.disconnect()
  const ends = async () => (await admin.fetchTopicOffsets(TOPIC)).sort((a, b) => a.partition - b.partition)
  expect(`${(await ends()).map(one => one.high)}` === '10,20,30,40', `the ends are ${JSON.stringify(await ends())}`)
  await admin.deleteTopicRecords({ topic: TOPIC, partitions: [{ partition: 1, offset: '5' }, { partition: 2, offset: '-1' }] })
  expect(`${(await ends()).map(one => one.low)}` === '0,5,30,0', `the beginnings are ${JSON.stringify(await ends())}`)

  await admin.setOffsets({ groupId: GROUP, topic: TOPIC, partitions: [{ partition: 0, offset: '7' }, { partition: 3, offset: '11' }] })
  const offsets = async resolveOffsets => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC], resolveOffsets })
    return `${partitions.sort((a, b) => a.partition - b.partition).map(one => one.offset)}`
  }
  expect((await offsets()) === '7,-1,-1,11', `offsets are ${await offsets()}`)
  // kafkajs commits the name of the beginning, and puts the beginning there when it is asked to.
  await admin.resetOffsets({ groupId: GROUP, topic: TOPIC, earliest: true })
  expect((await offsets()) === '-2,-2,-2,-2', `offsets set back are ${await offsets()}`)
  expect((await offsets(true)) === '0,5,30,0', `offsets at the beginning are ${await offsets(true)}`)

  const listed = (await admin.listGroups()).groups.find(one => one.groupId === GROUP)
  expect(listed?.protocolType === 'consumer', `listed as ${JSON.stringify(listed)}`)
  const { groups } = await admin.describeGroups([GROUP, 'nobody'])
  const states = groups.map(one => `${one.groupId} ${one.state}`).sort()
  expect(`${states}` === `${GROUP} Empty,nobody Dead`, `groups are ${states}`)
  await admin.deleteGroups([GROUP])
  expect(!(await admin.listGroups()).groups.some(one => one.groupId === GROUP), 'the deleted group is listed')
  const gone = await refusal(() => admin.deleteGroups(['nobody']))
  expect(gone === 'GROUP_ID_NOT_FOUND', `a group that is not there is refused with ${gone}`)

  await admin.deleteTopics({ topics: [TOPIC] })
  await until(async () => !(await admin.listTopics()).includes(TOPIC), () => 'the deleted topic is listed')
  await admin.disconnect()
  return 'topics, partitions, configs, records, offsets and groups made, described, changed and deleted'
})
