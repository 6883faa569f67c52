'use strict'

/*
 * What a handler sees and what it may answer, in the shapes that OpenFaaS's node20 template (Express
 * and body-parser) has. Beyond the original, an error that a handler throws is 500 and not 200.
 */

const DEFAULT_CONTENT_TYPE = 'text/html; charset=utf-8'
const WITH_CHARSET = /^(text\/[^;]+|application\/(json|javascript))$/i

/** A request that is wrong before any handler sees it. */
class BadRequest extends Error {
  constructor (status, reason) {
    super(reason)
    this.status = status
  }
}

/** One request. `body` is text, what its JSON or form says, a Buffer with RAW_BODY, or {}. Throws BadRequest. */
class FunctionEvent {
  constructor (request, body, settings) {
    const [path, query] = split(request.url)
    this.body = parseBody(request.headers['content-type'] || 'text/plain', body, settings)
    this.headers = request.headers
    this.method = request.method
    this.query = parameters(query)
    this.path = path
  }
}

/** The answer in the making. */
class FunctionContext {
  constructor (callback) {
    this.statusCode = 200
    this.cb = callback
    this.headerValues = {}
    this.cbCalled = 0
  }

  status (code) {
    if (!code) return this.statusCode
    this.statusCode = code
    return this
  }

  headers (values) {
    if (!values) return this.headerValues
    this.headerValues = values
    return this
  }

  succeed (value) {
    this.cbCalled++
    this.cb(undefined, value)
  }

  fail (error) {
    if (Number(this.statusCode) === 200) this.statusCode = 500
    this.cbCalled++
    this.cb(error === undefined ? '' : error)
  }
}

/** [headers, body] of a value that a handler answered with. */
function formatAnswer (value, given) {
  const headers = {}
  let typed = ''
  for (const [name, content] of Object.entries(given)) {
    headers[name] = Array.isArray(content) ? content.map(String) : String(content)
    if (name.toLowerCase() === 'content-type') typed = name
  }
  let body = value
  let type = DEFAULT_CONTENT_TYPE
  if (body === undefined || body === null) {
    body = Buffer.alloc(0)
    type = ''
  } else if (Buffer.isBuffer(body)) {
    type = 'application/octet-stream'
  } else {
    const plain = Array.isArray(body) || body.constructor === Object || typeof body === 'object'
    body = Buffer.from(plain ? JSON.stringify(body) : String(body))
    if (typed && WITH_CHARSET.test(headers[typed])) headers[typed] += '; charset=utf-8'
  }
  if (!typed && type) headers['Content-Type'] = type
  return [headers, body]
}

function parseBody (contentType, body, settings) {
  const type = contentType.split(';')[0].trim().toLowerCase()
  const limit = settings.rawBody ? settings.maxRawBytes : type === 'application/json' ? settings.maxJsonBytes : Infinity
  if (body.length > limit) throw new BadRequest(413, `the body is larger than ${limit} bytes`)
  if (settings.rawBody) return body
  if (type.startsWith('text/')) return body.toString()
  if (type === 'application/x-www-form-urlencoded') return parameters(body.toString())
  if (type !== 'application/json' || body.length === 0) return {}
  try {
    return JSON.parse(body.toString())
  } catch (error) {
    throw new BadRequest(400, `the body is not JSON: ${error.message}`)
  }
}

/** A name that comes twice has an array of its values. */
function parameters (text) {
  const found = {}
  for (const [name, value] of new URLSearchParams(text)) {
    if (!Object.hasOwn(found, name)) found[name] = value
    else found[name] = [].concat(found[name], value)
  }
  return found
}

function split (url) {
  const at = url.indexOf('?')
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
}

module.exports = { BadRequest, FunctionContext, FunctionEvent, formatAnswer, split }
