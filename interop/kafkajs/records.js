// Keys, headers, timestamps and both codecs of kafkajs, with every acks and with idempotence; read back as they were.

const { CompressionTypes } = require('kafkajs')
const { expect, kafka, readAll, run } = require('./scene')

const TOPIC = 'from-kafkajs'
const PER_WAY = 200

const WAYS = [
  { name: 'none-0', acks: 0, compression: CompressionTypes.None },
  { name: 'none-1', acks: 1, compression: CompressionTypes.None },
  { name: 'gzip-1', acks: 1, compression: CompressionTypes.GZIP },
  { name: 'none-all', acks: -1, compression: CompressionTypes.None },
  { name: 'gzip-all', acks: -1, compression: CompressionTypes.GZIP },
]

function message(way, number) {
  return {
    key: `${way}-${number % 13}`,
    value: `${number} `.repeat(1 + (number % 50)),
    headers: { way, number: Buffer.from([number & 0xff, 0, 0xff]) },
    timestamp: `${1_700_000_000_000 + number}`,
  }
}

async function produce(producer, wanted, way, options) {
  const messages = Array.from({ length: PER_WAY }, (_, number) => message(way, number))
  for (let at = 0; at < messages.length; at += 50) {
    await producer.send({ topic: TOPIC, messages: messages.slice(at, at + 50), ...options })
  }
  wanted.set(way, messages)
}

run(async () => {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 3 }], waitForLeaders: true })
  const wanted = new Map()
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  for (const { name, ...options } of WAYS) await produce(producer, wanted, name, options)
  await producer.disconnect()
  const idempotent = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await idempotent.connect()
  await produce(idempotent, wanted, 'idempotent', { acks: -1, compression: CompressionTypes.GZIP })
  await idempotent.disconnect()

  const found = new Map([...wanted.keys()].map(way => [way, []]))
  const places = new Map()
  for (const one of await readAll(TOPIC)) {
    const [way, key] = [one.headers.way.toString(), one.key.toString()]
    found.get(way).push(one)
    expect((places.get(key) ?? one.partition) === one.partition, `${key} is in two partitions`)
    places.set(key, one.partition)
  }
  for (const [way, messages] of wanted) {
    const there = found.get(way)
    expect(there.length === messages.length, `${way}: ${there.length} of ${messages.length} records`)
    for (const key of new Set(messages.map(one => one.key))) {
      const sent = messages.filter(one => one.key === key)
      const got = there.filter(one => one.key.toString() === key)
      sent.forEach((one, place) => {
        expect(got[place].value.toString() === one.value, `${key}: ${got[place].value} instead of ${one.value}`)
        expect(got[place].headers.number.equals(one.headers.number), `${key}: the header came as ${got[place].headers.number}`)
        expect(got[place].timestamp === one.timestamp, `${key}: from ${got[place].timestamp}`)
      })
    }
  }

  // By time: what each partition has from the middle on is where the offsets say.
  const middle = 1_700_000_000_000 + PER_WAY / 2
  const all = await readAll(TOPIC, { readUncommitted: true })
  for (const { partition, offset } of await admin.fetchTopicOffsetsByTimestamp(TOPIC, middle)) {
    const first = all.find(one => one.partition === partition && Number(one.timestamp) >= middle)
    expect(first.offset === offset, `partition ${partition}: from ${middle} on at ${offset}, not ${first.offset}`)
  }
  await admin.disconnect()
  return `${all.length} records with keys, headers and times, ${[...wanted.keys()].join(', ')}, each as it was sent`
})
