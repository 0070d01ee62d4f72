// Which of several Redis a topic lives on: node which.mjs TOPIC URL URL..., the URLs in the order of redis.url.

export function home(channel, urls) {
  let crc = 0;
  for (const byte of new TextEncoder().encode(channel)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return urls[Math.floor(((crc % 16384) * urls.length) / 16384)];
}

const [topic, ...urls] = process.argv.slice(2);
if (topic && urls.length) console.log(home("fanline:" + topic, urls));
else if (process.argv[1]?.endsWith("which.mjs")) {
  console.error("Which of several Redis a topic lives on: node which.mjs TOPIC URL URL..., the URLs in the order of redis.url.");
  process.exitCode = 1;
}
