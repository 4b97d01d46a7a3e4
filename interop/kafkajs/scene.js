// What the programs share: the broker, numbered records by key, waiting by the clock, one way to fail.

const { Kafka, logLevel } = require('kafkajs')

const LIMIT_MS = 30_000

/** Ends the program; the harness shows the last line, which is the reason. */
function fail(reason) {
  if (reason instanceof Error) console.error(reason.stack)
  console.error(reason.message ?? reason)
  process.exit(1)
}

function expect(condition, reason) {
  if (!condition) fail(reason)
}

const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: [process.env.KAFKA],
  logLevel: logLevel.ERROR,
  // The summary alone goes to the output.
  logCreator: () => entry => console.error(entry.namespace, entry.log.message, entry.log.error ?? ''),
})

/** Waits until `holds`; what is not so in time fails with what `state` says. */
async function until(holds, state) {
  const deadline = Date.now() + LIMIT_MS
  while (!(await holds())) {
    if (Date.now() > deadline) fail(`after ${LIMIT_MS / 1000} s: ${state()}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** Records `first` to `last`, which are numbered within their key. */
function numbered(first, last, keys) {
  const record = number => ({ key: `key-${number % keys}`, value: `${Math.floor(number / keys)}` })
  return Array.from({ length: last - first }, (_, place) => record(first + place))
}

/** What has arrived, by key: a key may be set back to where its group was committed, but never skips a record. */
class Ledger {
  constructor() {
    this.next = new Map()
    this.distinct = 0
    this.repeated = 0
  }

  arrive(message) {
    const [key, number] = [message.key.toString(), Number(message.value.toString())]
    const next = this.next.get(key) ?? 0
    expect(number <= next, `${key}: ${number} came instead of ${next}`)
    if (number < next) {
      this.repeated += 1
      return
    }
    this.next.set(key, next + 1)
    this.distinct += 1
  }
}

/** Everything in a topic up to the ends that it has now, without a part in any group's work. */
async function readAll(topic, { readUncommitted = false } = {}) {
  const admin = kafka.admin()
  await admin.connect()
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map(one => [one.partition, Number(one.high)]))
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: `reader-of-${topic}-${readUncommitted}`, readUncommitted, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const messages = []
  await consumer.run({
    autoCommit: false,
    // An empty batch still tells how far the partition was read: markers and aborted records are no messages.
    eachBatch: async ({ batch }) => {
      for (const message of batch.messages) messages.push({ ...message, partition: batch.partition })
      if (Number(batch.lastOffset()) + 1 >= ends.get(batch.partition)) ends.delete(batch.partition)
    },
  })
  for (const [partition, end] of ends) if (end === 0) ends.delete(partition)
  await until(() => ends.size === 0, () => `${topic}: ${messages.length} messages, ends not reached: ${[...ends]}`)
  await consumer.disconnect()
  return messages
}

/** Runs the program; what it returns is its summary. */
function run(main) {
  main().then(summary => console.log(summary), fail)
}

module.exports = { Ledger, expect, fail, kafka, numbered, readAll, run, until }
