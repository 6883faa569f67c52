'use strict'

/*
 * The ratings that reviewers gave a book.
 *
 *   GET  /ratings/{id}   {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
 *   POST /ratings/{id}   {"Reviewer1": 1, …} replaces them until this process ends; 501 when a database has them
 *   GET  /health
 *
 * Its environment:
 *   DB_HOST           where MariaDB is (DB_PORT, DB_USER, DB_NAME; the password is in DB_PASSWORD_FILE). Without it
 *                     or with RATINGS_STORE=memory the ratings are in this process's memory. A new connection is
 *                     opened for each request.
 *   SERVICE_VERSION   v1, or one that misbehaves: v-delayed (FAULT_SHARE of the answers come after DELAY_S),
 *                     v-faulty (FAULT_SHARE of them are 503), v-unavailable (503 every other UNAVAILABLE_S)
 */

const fs = require('fs')

const VERSION = process.env.SERVICE_VERSION || 'v1'
const FAULT_SHARE = Number(process.env.FAULT_SHARE || 0.5)
const DELAY_S = Number(process.env.DELAY_S || 7)
const UNAVAILABLE_S = Number(process.env.UNAVAILABLE_S || 60)
const DB_HOST = process.env.RATINGS_STORE === 'memory' ? '' : process.env.DB_HOST || ''
const mysql = DB_HOST ? require('mysql') : undefined

const started = process.uptime()
const given = new Map() // product -> ratings that were posted

class Refused extends Error {
  constructor (status, reason) {
    super(reason)
    this.status = status
  }
}

module.exports = async (event, context) => {
  context.headers({ 'Content-Type': 'application/json' })
  try {
    return context.succeed(JSON.stringify(await answer(event)))
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return context.status(error.status).succeed(JSON.stringify({ error: error.message }))
  }
}

async function answer (event) {
  const [, resource, text, ...rest] = event.path.split('/')
  if (event.method === 'GET' && event.path === '/health') return health()
  if (resource !== 'ratings' || text === undefined || rest.length) throw new Refused(404, 'there is no such page')
  if (!/^\d+$/.test(text)) throw new Refused(400, 'the product id must be a number')
  const id = Number(text)
  if (event.method === 'POST') return post(id, event.body)
  if (event.method !== 'GET') throw new Refused(405, `${event.method} is not possible here`)
  await misbehave()
  return { id, ratings: given.get(id) || await ratings() }
}

function health () {
  if (unavailable()) throw new Refused(503, 'ratings is unavailable')
  return { status: 'ratings is healthy' }
}

function post (id, body) {
  if (DB_HOST) throw new Refused(501, 'ratings that are in a database cannot be changed here')
  let ratings = body
  try {
    if (typeof body === 'string') ratings = JSON.parse(body)
  } catch (error) {
    throw new Refused(400, 'the ratings must be JSON')
  }
  if (typeof ratings !== 'object' || ratings === null || Array.isArray(ratings)) {
    throw new Refused(400, 'the ratings must be a JSON object')
  }
  given.set(id, ratings)
  return { id, ratings }
}

async function misbehave () {
  const unlucky = Math.random() < FAULT_SHARE
  if (VERSION === 'v-delayed' && unlucky) await new Promise(resolve => setTimeout(resolve, 1000 * DELAY_S))
  if ((VERSION === 'v-faulty' && unlucky) || unavailable()) throw new Refused(503, 'ratings is unavailable')
}

function unavailable () {
  return VERSION === 'v-unavailable' && Math.floor((process.uptime() - started) / UNAVAILABLE_S) % 2 === 1
}

async function ratings () {
  if (!DB_HOST) return { Reviewer1: 5, Reviewer2: 4 }
  const rows = await select('SELECT Rating FROM ratings ORDER BY ReviewID')
  const [first, second] = rows.map(row => row.Rating)
  return { Reviewer1: first || 0, Reviewer2: second || 0 }
}

/** The rows of one query on a connection of its own. */
async function select (query) {
  const connection = mysql.createConnection({
    host: DB_HOST,
    port: Number(process.env.DB_PORT || 3306),
    user: process.env.DB_USER || 'app',
    database: process.env.DB_NAME || 'app',
    password: password(),
    connectTimeout: 5000
  })
  try {
    const rows = await new Promise((resolve, reject) => {
      connection.on('error', reject)
      connection.query(query, (error, rows) => error ? reject(error) : resolve(rows))
    })
    connection.end()
    return rows
  } catch (error) {
    connection.destroy()
    console.error(error.message)
    throw new Refused(500, 'the ratings database cannot be asked')
  }
}

function password () {
  const file = process.env.DB_PASSWORD_FILE || '/var/openfaas/secrets/mariadb-password'
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim() : ''
}
