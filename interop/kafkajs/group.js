// A group of two: records go on while a member joins and one leaves, and a successor resumes where they committed.

const { Ledger, expect, kafka, numbered, run, until } = require('./scene')

const [TOPIC, GROUP, PARTITIONS, KEYS] = ['kafkajs-orders', 'kafkajs-workers', 4, 20]

async function member(clientId, ledger) {
  const consumer = kafka.consumer({
    groupId: GROUP,
    sessionTimeout: 10_000,
    rebalanceTimeout: 20_000,
    heartbeatInterval: 200,
    maxWaitTimeInMs: 200,
  })
  const one = { consumer, partitions: [], memberId: undefined, seen: 0 }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    one.memberId = payload.memberId
    one.partitions = payload.memberAssignment[TOPIC] ?? []
  })
  consumer.on(consumer.events.REBALANCING, () => (one.partitions = []))
  await consumer.connect()
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message }) => {
      one.seen += 1
      ledger.arrive(message)
    },
  })
  return one
}

run(async () => {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: PARTITIONS }], waitForLeaders: true })
  const producer = kafka.producer()
  await producer.connect()
  let produced = 0
  const produce = async count => {
    await producer.send({ topic: TOPIC, messages: numbered(produced, produced + count, KEYS) })
    produced += count
  }
  const ledger = new Ledger()
  const all = () => ledger.distinct === produced
  const state = members => () => `${ledger.distinct} of ${produced} records, ${members.map(one => one.partitions.length)} partitions`

  await produce(200)
  const first = await member('first', ledger)
  await until(all, state([first]))
  expect(first.partitions.length === PARTITIONS, `the only member has ${first.partitions}`)

  const started = Date.now()
  const second = await member('second', ledger)
  await until(async () => {
    await produce(20)
    return first.partitions.length === 2 && second.partitions.length === 2
  }, state([first, second]))
  const rebalancedMs = Date.now() - started
  const shared = new Set([...first.partitions, ...second.partitions])
  expect(shared.size === PARTITIONS, `partitions ${[...shared]} of ${PARTITIONS}`)
  await produce(200)
  await until(all, state([first, second]))
  expect(second.seen > 0, 'the second member got nothing')

  const described = (await admin.describeGroups([GROUP])).groups[0]
  expect(described.state === 'Stable', `the group is ${described.state}`)
  const ids = described.members.map(one => one.memberId).sort()
  expect(`${ids}` === `${[first.memberId, second.memberId].sort()}`, `members are ${ids}`)

  await first.consumer.disconnect()
  await until(async () => {
    await produce(20)
    return second.partitions.length === PARTITIONS
  }, state([second]))
  await until(all, state([second]))
  await second.consumer.disconnect()

  const [{ partitions }] = await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC] })
  const committed = partitions.reduce((sum, one) => sum + Number(one.offset), 0)
  expect(committed === produced, `committed ${committed} of ${produced}`)
  const repeated = ledger.repeated
  await produce(100)
  const third = await member('third', ledger)
  await until(all, state([third]))
  expect(ledger.repeated === repeated, `${ledger.repeated - repeated} committed records came again`)
  expect(third.seen === 100, `the successor got ${third.seen} records`)
  await third.consumer.disconnect()
  await producer.disconnect()
  await admin.disconnect()
  return `${produced} records in order by key over three members, ${repeated} twice, shared after ${(rebalancedMs / 1000).toFixed(1)} s`
})
