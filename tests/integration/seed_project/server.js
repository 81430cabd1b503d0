'use strict';
const crypto = require('node:crypto');
const http = require('node:http');
const { query, command } = require('wire');

const { BUILT_FROM, DATABASE_PASSWORD, DATABASE_URL, NODE_ENV, REDIS_URL, STRIPE_SECRET_KEY } = process.env;
const digest = (text) => crypto.createHash('sha256').update(text || '').digest('hex');

async function answer(request) {
  if (request.method === 'POST') {
    await query(DATABASE_URL, "INSERT INTO courses (title) VALUES ('Botany')");
  }
  const rows = await query(DATABASE_URL, 'SELECT title FROM courses ORDER BY id');
  return {
    courses: rows.map(([title]) => title),
    visits: Number(await command(REDIS_URL, 'INCR', 'visits')),
    migrations: Number(await command(REDIS_URL, 'GET', 'migrations')),
    environment: NODE_ENV,
    image: BUILT_FROM,
    secrets: [digest(DATABASE_PASSWORD), digest(STRIPE_SECRET_KEY)],
  };
}

http.createServer(async (request, response) => {
  try {
    response.end(JSON.stringify(await answer(request)));
  } catch (error) {
    response.writeHead(500).end(JSON.stringify({ error: String(error) }));
  }
}).listen(3000, '0.0.0.0', () => console.log('listening on 3000'));
