'use strict'

/*
 * Serves function/handler.js as OpenFaaS's node20 template does, with of-watchdog's manners.
 *
 * A handler written for that template runs unmodified: (event, context) => … or (event, context,
 * callback) => …. of-watchdog's part happens in the same process: exec_timeout (504), max_inflight
 * (429), /_/health, /_/ready, X-Duration-Seconds, a drained exit on SIGTERM. Every invocation leaves
 * one JSON line on standard output. Node's own modules only: a framework's would be cold-start time.
 *
 * Settings come from the environment; see runtime/settings.js.
 */

const { Settings } = require('./runtime/settings')
const { Application } = require('./runtime/application')
const { serve } = require('./runtime/server')

function loadHandler () {
  try {
    const handler = require('./function/handler')
    if (typeof handler === 'function') return handler
    console.error('function/handler.js exports no function; write module.exports = async (event, context) => …')
  } catch (error) {
    console.error(error)
    console.error(`function/handler.js cannot be loaded: ${String(error.message).split('\n')[0]}`)
  }
  process.exit(1)
}

let settings
try {
  settings = new Settings(process.env)
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
serve(new Application(settings, loadHandler()), settings)
