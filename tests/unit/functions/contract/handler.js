'use strict'

module.exports = async (event, context) => {
  const query = event.query
  await new Promise(resolve => setTimeout(resolve, 1000 * Number(query.s || 0)))
  if ('fail' in query) throw new Error('as asked')
  if ('echo' in query) return context.succeed(event.body)
  if ('header' in query) return context.succeed(event.headers[query.header.toLowerCase()] || '')
  if ('made' in query) {
    return context.status(201).headers({ 'X-Made': 'yes', 'Content-Type': 'text/plain' }).succeed('made')
  }
  return context.status(200).succeed(query.say || 'slept')
}
