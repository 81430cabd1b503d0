'use strict';
const { query, command } = require('wire');

const { DATABASE_URL, REDIS_URL } = process.env;
const STARTING = '57P03'; // a server that has just begun to listen says so for a moment

async function patient(sql) {
  for (let left = 100; ; left -= 1) {
    try {
      return await query(DATABASE_URL, sql);
    } catch (error) {
      if (error.code !== STARTING || left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function main() {
  await patient('CREATE TABLE IF NOT EXISTS courses (id serial PRIMARY KEY, title text NOT NULL)');
  await patient("INSERT INTO courses (title) SELECT 'Algebra' WHERE NOT EXISTS (SELECT 1 FROM courses)");
  console.log(`migrated, ${await command(REDIS_URL, 'INCR', 'migrations')} times`);
}

main();
