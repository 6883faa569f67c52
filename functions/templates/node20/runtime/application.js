'use strict'

/*
 * of-watchdog's own paths, and the handler for every other.
 *
 * One invocation: count it in, call the handler, write its record, answer. The record is written
 * before the answer, so whoever has an answer finds its record.
 */

const fs = require('fs')
const { BadRequest, FunctionContext, FunctionEvent, formatAnswer, split } = require('./adaptor')
const { durationS } = require('./settings')

const STDOUT = 1
const LONGEST_ID = 128 // of what a caller says of itself, in a record
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const TEXT = { 'Content-Type': 'text/plain; charset=utf-8' }

/** Invokes `handle`. `draining` makes /_/ready say 503 and closes connections after their answer. */
class Application {
  constructor (settings, handle) {
    this.draining = false
    this._settings = settings
    this._handle = handle
    this._inflight = 0
    this._warm = false
    this._recordTail = `"function":${JSON.stringify(settings.function)},` +
      `"namespace":${JSON.stringify(settings.namespace)},"instance":${JSON.stringify(settings.instance)}`
  }

  /** Answer a request whose body is read. */
  serve (request, response, body) {
    const path = split(request.url)[0]
    if (path.startsWith('/_/')) return this._own(path, response)
    const invocation = { request, response, startedNs: process.hrtime.bigint(), cold: !this._warm, timer: undefined }
    this._warm = true
    if (this._full()) {
      invocation.cold = false
      this._record(invocation, 429)
      return this._tooMany(response)
    }
    this._inflight++
    const timeoutS = this._timeoutS(request)
    if (timeoutS) {
      const headers = { 'X-OpenFaaS-Internal': 'of-watchdog', Connection: 'close' }
      invocation.timer = setTimeout(() => this._answer(invocation, 504, headers, Buffer.alloc(0)), timeoutS * 1000)
    }
    this._invoke(invocation, body)
  }

  _invoke (invocation, body) {
    if (!METHODS.includes(invocation.request.method)) {
      return this._answer(invocation, 405, { ...TEXT, Allow: METHODS.join(', ') }, Buffer.alloc(0))
    }
    const callback = (error, value) => {
      if (error === undefined || error === null) return this._succeed(invocation, context, value)
      console.error(error)
      this._answer(invocation, context.status(), { ...TEXT }, Buffer.from(String(error)))
    }
    const context = new FunctionContext(callback)
    const failed = error => {
      if (context.cbCalled) return console.error(error)
      context.fail(error)
    }
    let event
    try {
      event = new FunctionEvent(invocation.request, body, this._settings)
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error
      return this._answer(invocation, error.status, { ...TEXT }, Buffer.from(`${error.message}\n`))
    }
    try {
      Promise.resolve(this._handle(event, context, callback)).then(value => {
        if (!context.cbCalled && this._awaitsReturn(value)) context.succeed(value)
      }).catch(failed)
    } catch (error) {
      failed(error)
    }
  }

  /** A handler of the older style (event, context, callback) returns nothing and answers later. */
  _awaitsReturn (value) {
    return value !== undefined || this._handle.length < 3
  }

  _succeed (invocation, context, value) {
    const [headers, body] = formatAnswer(value, context.headers())
    this._answer(invocation, context.status(), headers, body)
  }

  /** Answer once; what a handler says after its time is over is dropped. */
  _answer (invocation, status, headers, body) {
    if (invocation.answered) return
    const { request, response, startedNs } = invocation
    const known = Number.isInteger(Number(status)) && status >= 100 && status <= 999
    invocation.answered = true
    clearTimeout(invocation.timer)
    this._inflight--
    this._record(invocation, known ? Number(status) : 500)
    const seconds = Number(process.hrtime.bigint() - startedNs) / 1e9
    const own = { 'Content-Length': body.length, 'X-Duration-Seconds': seconds.toFixed(6) }
    try {
      this._send(response, known ? Number(status) : 500, { ...headers, ...own }, request.method === 'HEAD' ? '' : body)
    } catch (error) { // a header that HTTP does not allow
      console.error(error)
      this._send(response, 500, { ...TEXT, ...own, 'Content-Length': 0 }, '')
    }
  }

  _send (response, status, headers, body) {
    if (this.draining) headers.Connection = 'close'
    response.writeHead(status, headers)
    response.end(body)
  }

  /** exec_timeout, which a request's X-Timeout may lower. */
  _timeoutS (request) {
    const timeoutS = this._settings.execTimeoutS
    const asked = request.headers['x-timeout']
    const askedS = asked ? durationS(asked) : NaN
    if (Number.isNaN(askedS)) return timeoutS
    return timeoutS ? Math.min(timeoutS, askedS) : askedS
  }

  _record (invocation, status) {
    const headers = invocation.request.headers
    fs.writeSync(STDOUT, `{"invocation":{"call_id":${JSON.stringify((headers['x-call-id'] || '').slice(0, LONGEST_ID))},` +
      `"caller":${JSON.stringify((headers['x-caller'] || '').slice(0, LONGEST_ID))},${this._recordTail},` +
      `"started_ns":${invocation.startedNs},"ended_ns":${process.hrtime.bigint()},` +
      `"cold":${invocation.cold},"status":${status}}}\n`)
  }

  /** /_/health: the process lives. /_/ready: it takes invocations. */
  _own (path, response) {
    let status = 200
    if (path !== '/_/health' && path !== '/_/ready') status = 404
    else if (path === '/_/ready' && this.draining) status = 503
    else if (path === '/_/ready' && this._full()) return this._tooMany(response)
    const body = status === 200 ? 'OK' : ''
    this._send(response, status, { ...TEXT, 'Content-Length': body.length }, body)
  }

  _full () {
    return this._settings.maxInflight > 0 && this._inflight >= this._settings.maxInflight
  }

  _tooMany (response) {
    const body = `Concurrent request limit exceeded. Max concurrent requests: ${this._settings.maxInflight}\n`
    const headers = { ...TEXT, 'X-OpenFaaS-Internal': 'faas-middleware', 'Content-Length': body.length }
    this._send(response, 429, headers, body)
  }
}

module.exports = { Application }
