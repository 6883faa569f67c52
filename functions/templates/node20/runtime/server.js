'use strict'

/*
 * Node's HTTP server with of-watchdog's manners.
 *
 * - A body is read before its invocation begins, as a proxy in front would do.
 * - Connections that wait for a request are closed when their time is over, and at once on SIGTERM; running
 *   invocations finish, then the process exits with 0.
 * - A descriptor named by READY_FD hears as soon as the socket listens.
 */

const fs = require('fs')
const http = require('http')

const BACKLOG = 2048

/** Serve until SIGTERM or SIGINT, then drain and exit. */
function serve (application, settings) {
  const idleMs = Math.max(1, Math.round(settings.idleTimeoutS * 1000))
  const server = http.createServer({ noDelay: true }, (request, response) => receive(application, request, response))
  const connections = new Map() // socket -> requests that wait for their answer
  server.timeout = idleMs
  server.keepAliveTimeout = idleMs
  server.requestTimeout = 0
  server.headersTimeout = idleMs
  server.on('connection', socket => {
    connections.set(socket, 0)
    socket.on('close', () => connections.delete(socket))
  })
  server.on('request', (request, response) => {
    const socket = request.socket
    connections.set(socket, (connections.get(socket) || 0) + 1)
    response.on('close', () => {
      if (connections.has(socket)) connections.set(socket, connections.get(socket) - 1)
    })
  })
  server.on('timeout', socket => {
    if (!connections.get(socket)) socket.destroy()
  })
  server.on('error', error => {
    console.error(`port ${settings.port} cannot be listened on: ${error.message}`)
    process.exit(1)
  })
  const stop = () => drain(application, settings, server, connections)
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  const readyFd = process.env.READY_FD || ''
  delete process.env.READY_FD
  server.listen({ port: settings.port, host: settings.listenAddress, backlog: BACKLOG }, () => sayReady(readyFd))
}

function receive (application, request, response) {
  const pieces = []
  request.on('data', piece => pieces.push(piece))
  request.on('end', () => application.serve(request, response, Buffer.concat(pieces)))
  request.on('error', () => response.destroy()) // its client has gone
}

function drain (application, settings, server, connections) {
  application.draining = true
  server.close(() => process.exit(0))
  for (const [socket, waiting] of connections) {
    if (!waiting) socket.destroy()
  }
  setTimeout(() => process.exit(0), settings.drainS * 1000)
}

/** Tell whoever started the function that it listens, where it asked by READY_FD to be told. */
function sayReady (fd) {
  if (!/^\d+$/.test(fd)) return
  try {
    fs.writeSync(Number(fd), '\n')
    fs.closeSync(Number(fd))
  } catch (error) {
    console.error(`READY_FD ${fd} cannot be written to; probes will find the function`)
  }
}

module.exports = { serve }
