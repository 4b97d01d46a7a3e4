// transactions.js SEED: a copy with random aborts, the copier replaced half-way: each record is there exactly once.

const { CompressionTypes } = require('kafkajs')
const { Ledger, expect, kafka, numbered, readAll, run, until } = require('./scene')

const [SOURCE, SINK, GROUP, PARTITIONS, KEYS, RECORDS] = ['kafkajs-in', 'kafkajs-out', 'kafkajs-copiers', 3, 12, 300]

/** Numbers from 0 to 1 that a seed repeats (Mulberry32). */
function randomFrom(seed) {
  let state = Number(BigInt.asUintN(32, BigInt(seed)))
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

async function transactional(transactionalId) {
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

/** Copies up to `enough` records in transactions of ten that begin where the group is committed. */
async function copy(enough, random, tally) {
  const producer = await transactional('kafkajs-copier')
  const consumer = kafka.consumer({ groupId: GROUP, maxWaitTimeInMs: 100, heartbeatInterval: 200 })
  await consumer.connect()
  await consumer.subscribe({ topic: SOURCE, fromBeginning: true })
  let copied = 0
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat, isRunning }) => {
      for (let at = 0; at < batch.messages.length; ) {
        if (!isRunning() || copied >= enough) return
        const some = batch.messages.slice(at, at + 10)
        const next = `${Number(some.at(-1).offset) + 1}`
        const transaction = await producer.transaction()
        const messages = some.map(({ key, value }) => ({ key, value }))
        await transaction.send({ topic: SINK, messages, compression: CompressionTypes.GZIP })
        const topics = [{ topic: SOURCE, partitions: [{ partition: batch.partition, offset: next }] }]
        await transaction.sendOffsets({ consumerGroupId: GROUP, topics })
        if (random() < 0.4) {
          await transaction.abort()
          tally.aborted += 1
        } else {
          await transaction.commit()
          tally.committed += 1
          copied += some.length
          at += some.length
        }
        await heartbeat()
      }
    },
  })
  await until(() => copied >= enough, () => `${copied} of ${enough} records copied`)
  await consumer.disconnect()
  return { copied, producer }
}

/** The second producer of a transactional id takes over, and the first one's transaction is undone. */
async function fenced() {
  const first = await transactional('kafkajs-twins')
  const open = await first.transaction()
  await open.send({ topic: SINK, messages: [{ key: 'fenced', value: '0' }] })
  const second = await transactional('kafkajs-twins')
  // kafkajs asks for its epoch when a transaction begins.
  const next = await second.transaction()
  await open.commit().then(
    () => expect(false, 'a fenced producer has committed'),
    error => expect(/epoch|fenced/i.test(error.message), `refused with ${error.message}`)
  )
  await next.abort()
  await first.disconnect()
  await second.disconnect()
}

run(async () => {
  const random = randomFrom(process.argv[2])
  const admin = kafka.admin()
  await admin.connect()
  const topics = [SOURCE, SINK].map(topic => ({ topic, numPartitions: PARTITIONS }))
  await admin.createTopics({ topics, waitForLeaders: true })
  const source = kafka.producer()
  await source.connect()
  await source.send({ topic: SOURCE, messages: numbered(0, RECORDS, KEYS) })
  await source.disconnect()

  const tally = { committed: 0, aborted: 0 }
  const half = await copy(RECORDS / 2, random, tally)
  // The first copier leaves with a transaction open; the second one's start ends it.
  const left = await half.producer.transaction()
  await left.send({ topic: SINK, messages: [{ key: 'left', value: '0' }] })
  const rest = await copy(RECORDS - half.copied, random, tally)
  expect(half.copied + rest.copied === RECORDS, `${half.copied} and ${rest.copied} records copied`)
  await half.producer.disconnect()
  await rest.producer.disconnect()
  await fenced()

  const offsets = await admin.fetchOffsets({ groupId: GROUP, topics: [SOURCE] })
  const committed = offsets[0].partitions.reduce((sum, one) => sum + Number(one.offset), 0)
  expect(committed === RECORDS, `the group is at ${committed}`)
  await admin.disconnect()
  const ledger = new Ledger()
  for (const message of await readAll(SINK)) ledger.arrive(message)
  expect(ledger.distinct === RECORDS && ledger.repeated === 0, `${ledger.distinct} records, ${ledger.repeated} twice`)
  const dirty = await readAll(SINK, { readUncommitted: true })
  expect(tally.aborted === 0 || dirty.length > RECORDS, `uncommitted readers see ${dirty.length} records`)
  return `${RECORDS} records exactly once in ${tally.committed} transactions, ${tally.aborted} aborted, ${dirty.length} written, a copier replaced, a producer fenced`
})
