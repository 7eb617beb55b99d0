// A till for facepay terminals in Node.js 20 or newer. Contract: ../reference/till-contract.md
// Install: npm install mqtt@5        Use: node till.mjs PHOTO   (settings: see `settings` below)
import { createHash, createPrivateKey, createPublicKey, randomBytes, randomUUID, sign, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import mqtt from 'mqtt'

const env = process.env
const file = (name) => (env[name] ? readFileSync(env[name]) : undefined)
const settings = {
  broker: env.FACEPAY_BROKER ?? 'mqtt://127.0.0.1:1883', // mqtts://HOST:8884 in a shop
  ca: file('FACEPAY_CA'), cert: file('FACEPAY_CERT'), key: file('FACEPAY_CERT_KEY'), // this till's certificate
  site: env.FACEPAY_SITE ?? 'demo', terminal: env.FACEPAY_TERMINAL ?? 'terminal-1', till: env.FACEPAY_TILL ?? 'till-1',
  terminalKey: createPublicKey(file('FACEPAY_TERMINAL_KEY')), // from `facepay keys show`, pinned out of band
  signKey: env.FACEPAY_SIGN_KEY ? createPrivateKey(file('FACEPAY_SIGN_KEY')) : undefined,
  ttlMs: Number(env.FACEPAY_TTL_MS ?? 8000), testMode: env.FACEPAY_CONFORMANCE === '1', // only for `facepay till conformance`
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex') // a key id: 16 digits, of the 32 bytes of the key
const keyId = (publicKey) => sha256(Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url')).slice(0, 16)
const ends = (ms) => ({ steady: performance.now() + ms, day: Date.now() + ms }) // performance.now stops in suspend,
const isOver = (end) => performance.now() > end.steady || Date.now() > end.day //   and the time of day can be set

export function verified(envelope, kind, key) { // the text, or null when its signature is not that of `key`
  const text = envelope?.[kind], [header, middle, signature] = String(envelope?.jws).split('.')
  if (typeof text !== 'string' || middle !== '' || signature === undefined) return null
  let head; try { head = JSON.parse(Buffer.from(header, 'base64url')) } catch { return null }
  if (head?.alg !== 'Ed25519' || head.typ !== `facepay-${kind}+jws` || head.kid !== keyId(key)) return null
  const signed = Buffer.from(`${header}.${Buffer.from(text).toString('base64url')}`)
  return verify(null, signed, key, Buffer.from(signature, 'base64url')) ? text : null
}

export function seal(kind, message, key) {
  const text = JSON.stringify(message)
  if (!key) return text
  const head = { alg: 'Ed25519', typ: `facepay-${kind}+jws`, kid: keyId(createPublicKey(key)) }
  const header = Buffer.from(JSON.stringify(head)).toString('base64url')
  const signature = sign(null, Buffer.from(`${header}.${Buffer.from(text).toString('base64url')}`), key)
  return JSON.stringify({ [kind]: text, jws: `${header}..${signature.toString('base64url')}` })
}

export class Till {
  constructor(set) {
    Object.assign(this, set, { base: `facepay/v1/${set.site}/${set.terminal}`, pinned: { key: set.terminalKey }, open: null }) // one open request
    this.commands = { ask: () => this.ask(Buffer.from('a photo')), cancel: () => this.cancel(), restart: () => process.exit() }
  }

  connect() {
    this.client = mqtt.connect(this.broker, { protocolVersion: 5, ca: this.ca, cert: this.cert, key: this.key })
    this.getState = () => this.client.publish(`${this.base}/verify/${this.till}/get_state`, '{}', { qos: 1 })
    setInterval(() => this.client.connected && !this.hasState && this.getState(), 5000) // until a state arrives: one can be lost
    this.client.on('connect', () => {
      this.hasState = false
      const topics = ['state', ...['state_copy', 'event', 'result'].map((kind) => `verify/${this.till}/${kind}`)]
      if (this.testMode) topics.push(`conformance/${this.till}/do`)
      this.client.subscribe(topics.map((topic) => `${this.base}/${topic}`), { qos: 1 }, this.getState)
    })
    this.client.on('message', (topic, payload, packet) => {
      const kind = topic.slice(topic.lastIndexOf('/') + 1)
      try {
        const message = JSON.parse(payload)
        if (kind === 'state' || kind === 'state_copy') this.onState(message)
        else if (kind === 'event') this.onEvent(message)
        else if (kind === 'result' && !packet.retain) this.onResult(message) // never act on a retained result
        else if (kind === 'do' && this.testMode) this.commands[message.do]?.()
      } catch (error) { console.error('ignored a malformed message:', error.message) }
    })
    this.client.on('error', (error) => console.error(error.message)) // mqtt.js connects again
    return new Promise((ready) => { this.ready = ready })
  }

  send(kind, message, expiryS) {
    const options = { qos: 1, properties: expiryS && { messageExpiryInterval: expiryS } }
    const payload = seal(kind, { ...message, site: this.site, terminal: this.terminal }, this.signKey)
    if (kind === 'request') this.open.must.request_sha256 = sha256(payload)
    this.client.publish(`${this.base}/verify/${this.till}/${kind}`, payload, options)
  }

  onState(envelope) { // only the signed text counts: a broker could write another epoch beside it
    const state = JSON.parse(envelope.state), rotation = state.key?.rotation
    const text = rotation && verified(rotation, 'rotation', this.pinned.key), statement = text ? JSON.parse(text) : {}
    const here = (message) => message.site === this.site && message.terminal === this.terminal
    const newKey = here(statement) && createPublicKey(statement.new_key) // the old key signed the new key
    if (verified(envelope, 'state', newKey || this.pinned.key) === null || !here(state)) return
    if (newKey) this.pinned = { key: newKey, old: this.pinned.key, until: ends(600_000), newEpochs: new Set() } // 10 min
    this.pinned.newEpochs?.add(state.epoch)
    Object.assign(this, { state, hasState: true })
    if (['online', 'degraded'].includes(state.status)) this.ready?.() // both accept requests
  }

  ask(photo) { // photo: bytes, or an URL with its SHA-256: {url, sha256}
    this.end({ decision: 'undecided', reason: 'a new request began' })
    const reference = Buffer.isBuffer(photo) ? { image_b64: photo.toString('base64'), sha256: sha256(photo) } : photo
    const must = { request_id: randomUUID(), nonce: randomBytes(16).toString('hex'), epoch: this.state.epoch, till: this.till }
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.end({ decision: 'undecided', reason: 'no answer' }), this.ttlMs)
      this.open = { must, resolve, timer, deadline: ends(this.ttlMs), cancelled: false } // before sending
      this.send('request', { schema: 'facepay.request/1', ...must, transaction_id: `sale-${Date.now()}`,
        ttl_ms: this.ttlMs, sent_at_ms: Date.now(), reference }, Math.ceil(this.ttlMs / 1000))
    })
  }

  cancel() {
    if (this.open) this.open.cancelled = true // from now on never pay on this request
    if (this.open) this.send('cancel', { schema: 'facepay.cancel/1', request_id: this.open.must.request_id })
  }

  onEvent(event) {
    if (event.refusal === 'result_expired' && event.result_id) this.send('ack', { schema: 'facepay.ack/1', result_id: event.result_id })
    if (event.event === 'guidance') console.error(Object.values(event.hint)[0])
    const mine = this.open && [null, this.open.must.request_id].includes(event.request_id)
    if (event.refusal === 'request_stale' && mine) this.getState() // perhaps the newest state was lost
    if (event.event === 'refused' && mine) this.end({ decision: 'undecided', reason: `${event.refusal}`.replace(/\W/g, '') }) // not signed
  }

  onResult(envelope) {
    const { key, old, until, newEpochs } = this.pinned
    let text = verified(envelope, 'result', key)
    const before = until && !isOver(until) ? verified(envelope, 'result', old) : null // stored before the rotation
    if (before !== null && !newEpochs.has(JSON.parse(before).epoch)) text = before
    if (text === null) return
    const result = JSON.parse(text), { site, terminal, till } = result
    if (site !== this.site || terminal !== this.terminal || till !== this.till) return
    const inTime = this.open && !isOver(this.open.deadline) && !this.open.cancelled
    this.send('ack', { schema: 'facepay.ack/1', result_id: result.result_id }) // repeats and late results, too
    if (!this.open || Object.entries(this.open.must).some(([name, value]) => result[name] !== value)) return
    const decision = inTime && ['match', 'no_match'].includes(result.decision) ? result.decision : 'undecided'
    const paid = JSON.stringify({ request_id: result.request_id }) // test mode; a real till takes the money here
    if (decision === 'match' && this.testMode) this.client.publish(`${this.base}/conformance/${this.till}/paid`, paid, { qos: 1 })
    this.end({ decision, reason: result.reason, hint: Object.values(result.hint)[0] })
  }

  end(outcome) { // one outcome for each request: a repeat finds no open request
    clearTimeout(this.open?.timer)
    this.open?.resolve(outcome)
    this.open = null
  }
}

const till = new Till(settings)
const giveUp = () => (console.log('undecided/terminal not online'), process.exit(1)) // no signed state, or another key
const late = settings.testMode ? null : setTimeout(giveUp, settings.ttlMs + 5000)
await till.connect().then(() => clearTimeout(late))
if (!settings.testMode) {
  const photo = process.argv[2].includes('://') ? { url: process.argv[2], sha256: process.argv[3] } : readFileSync(process.argv[2])
  const { decision, reason, hint = '' } = await till.ask(photo)
  console.log(`${decision}/${reason} ${hint}`)
  const leave = () => process.exit(decision === 'match' ? 0 : 1)
  till.client.end(false, leave), setTimeout(leave, 2000) // the broker may be away
}
