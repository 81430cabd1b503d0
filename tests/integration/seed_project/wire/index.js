// The least of two protocols: one simple query to PostgreSQL, one command to Redis, each on a connection of its own.
'use strict';
const net = require('node:net');

function message(type, body) {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
}

function row(body) {
  const values = [];
  for (let at = 2, left = body.readInt16BE(0); left > 0; left -= 1) {
    const length = body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return values;
}

function refusal(body) {
  const fields = Object.fromEntries(
    body.toString('utf8').split('\0').filter(Boolean).map((field) => [field[0], field.slice(1)]));
  return Object.assign(new Error(fields.M), { code: fields.C });
}

// Resolves to the rows, as arrays of text.
function query(address, sql) {
  const url = new URL(address);
  const version = Buffer.from([0, 3, 0, 0]);
  const who = Buffer.from(`user\0${url.username || 'postgres'}\0database\0${url.pathname.slice(1)}\0\0`);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(url.port), url.hostname);
    let rest = Buffer.alloc(0);
    let asked = false;
    let error = null;
    const rows = [];
    const end = () => {
      socket.destroy();
      return error ? reject(error) : resolve(rows);
    };
    socket.on('error', reject);
    socket.on('close', () => reject(error || new Error('the database closed the connection')));
    socket.on('connect', () => socket.write(message('', Buffer.concat([version, who]))));
    socket.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
        const type = String.fromCharCode(rest[0]);
        const body = rest.subarray(5, 1 + rest.readInt32BE(1));
        rest = rest.subarray(1 + rest.readInt32BE(1));
        if (type === 'D') rows.push(row(body));
        if (type === 'E') error = refusal(body);
        if (type === 'R' && body.readInt32BE(0) !== 0) error = new Error('the database wants a password');
        if (type === 'Z' && asked) end();
        if (type === 'Z' && !asked) {
          asked = true;
          socket.write(message('Q', Buffer.from(`${sql}\0`)));
        }
      }
      if (error && !asked) end();
    });
  });
}

// Resolves to the answer as text, null where there is none.
function command(address, ...words) {
  const url = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(url.port || 6379), url.hostname);
    let text = '';
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the cache closed the connection')));
    socket.on('connect', () => socket.write(
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`));
    socket.on('data', (data) => {
      text += data;
      const [first, second] = text.split('\r\n');
      if (!text.endsWith('\r\n') || (first[0] === '$' && first !== '$-1' && second === '')) return;
      socket.destroy();
      if (first[0] === '-') reject(new Error(first.slice(1)));
      else if (first[0] === '$') resolve(first === '$-1' ? null : second);
      else resolve(first.slice(1));
    });
  });
}

module.exports = { query, command };
