'use strict'

/*
 * of-watchdog's environment variables, as far as they mean something here.
 *
 *   port                8080
 *   listen_address      0.0.0.0
 *   exec_timeout        30s   a longer invocation is answered 504; 0: no limit
 *   read_timeout        30s   an idle connection, or one that sends no request, is closed after
 *   write_timeout       30s   three times the longer of these two (callers keep connections for a minute)
 *   healthcheck_interval      how long running invocations may take to finish after SIGTERM (write_timeout)
 *   max_inflight        0     more concurrent invocations are answered 429; 0: no limit
 *
 * and those of OpenFaaS's template:
 *
 *   RAW_BODY            true: event.body is a Buffer, whatever the content type
 *   MAX_RAW_SIZE, MAX_JSON_SIZE   larger bodies are answered 413 (100kb, 2mb, or bytes); none by default
 *
 * Durations are seconds ("30") or in Go's form ("1m30s"). FUNCTION_NAME, FUNCTION_NAMESPACE and
 * INSTANCE_ID name the instance in its records.
 */

const UNITS_S = { ns: 1e-9, us: 1e-6, 'µs': 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 }
const UNITS_BYTES = { b: 1, kb: 2 ** 10, mb: 2 ** 20, gb: 2 ** 30 }

/** All times in seconds, all sizes in bytes. The constructor throws a sentence about a value it cannot understand. */
class Settings {
  constructor (environment) {
    const readS = seconds(environment, 'read_timeout', 30)
    const writeS = seconds(environment, 'write_timeout', 30)
    this.port = integer(environment, 'port', 8080)
    this.listenAddress = environment.listen_address || '0.0.0.0'
    this.execTimeoutS = seconds(environment, 'exec_timeout', 30)
    this.idleTimeoutS = Math.max(3 * readS, 3 * writeS)
    this.drainS = seconds(environment, 'healthcheck_interval', writeS)
    this.maxInflight = integer(environment, 'max_inflight', 0)
    this.rawBody = environment.RAW_BODY === 'true'
    this.maxRawBytes = bytes(environment, 'MAX_RAW_SIZE')
    this.maxJsonBytes = bytes(environment, 'MAX_JSON_SIZE')
    this.function = environment.FUNCTION_NAME || ''
    this.namespace = environment.FUNCTION_NAMESPACE || ''
    this.instance = environment.INSTANCE_ID || ''
  }
}

/** Seconds of "30" or "1m30s"; NaN for anything else. */
function durationS (text) {
  if (/^\d+$/.test(text)) return Number(text)
  if (!/^((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+$/.test(text)) return NaN
  let total = 0
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) total += Number(number) * UNITS_S[unit]
  return total
}

function seconds (environment, name, otherwise) {
  const value = environment[name]
  const found = value ? durationS(value) : otherwise
  if (Number.isNaN(found)) {
    throw new Error(`${name}=${value} is no duration; write seconds (30) or a Go duration (1m30s)`)
  }
  return found
}

function integer (environment, name, otherwise) {
  const value = environment[name] || String(otherwise)
  if (!/^\d+$/.test(value)) throw new Error(`${name}=${value} is no number; write a whole number`)
  return Number(value)
}

function bytes (environment, name) {
  const value = environment[name]
  if (!value) return Infinity
  const [, number, unit] = /^(\d+)\s*(b|kb|mb|gb)?$/i.exec(value) || []
  if (!number) throw new Error(`${name}=${value} is no size; write bytes, or e.g. 100kb`)
  return Number(number) * UNITS_BYTES[(unit || 'b').toLowerCase()]
}

module.exports = { Settings, durationS }
