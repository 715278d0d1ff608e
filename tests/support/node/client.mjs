// openai-node against the running server: `node client.mjs FOLDER` prints what it saw, as one JSON object.
// FOLDER has train.jsonl, batch.jsonl and notification.json; OPENAI_BASE_URL and OPENAI_API_KEY say where to ask.

import fs from "node:fs";
import path from "node:path";
import OpenAI, { NotFoundError } from "openai";

const folder = process.argv[2];
const client = new OpenAI({ maxRetries: 0 });
const stream = (name) => fs.createReadStream(path.join(folder, name));

async function collect(pages) {
  const all = [];
  for await (const item of pages) all.push(item);
  return all;
}

async function until(look, isOver) {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const found = await look();
    if (isOver(found)) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("waited in vain");
}

async function fineTune() {
  const file = await client.files.create({ file: stream("train.jsonl"), purpose: "fine-tune" });
  const made = await client.fineTuning.jobs.create({
    model: "gpt-4o-mini-2024-07-18",
    training_file: file.id,
    suffix: "node",
    method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 2 } } },
  });
  const ended = (job) => ["succeeded", "failed", "cancelled"].includes(job.status);
  const job = await until(() => client.fineTuning.jobs.retrieve(made.id), ended);
  const events = await collect(client.fineTuning.jobs.listEvents(job.id, { limit: 3 }));
  const checkpoints = await collect(client.fineTuning.jobs.checkpoints.list(job.id));
  const result = await client.files.content(job.result_files[0]);
  return { file, made, job, events, checkpoints, result: await result.text() };
}

async function chat(model) {
  const request = { model, messages: [{ role: "user", content: "question 1" }], temperature: 0 };
  const whole = await client.chat.completions.create(request);
  const options = { include_usage: true };
  const chunks = await collect(
    await client.chat.completions.create({ ...request, stream: true, stream_options: options }),
  );
  return {
    content: whole.choices[0].message.content,
    finish_reason: whole.choices[0].finish_reason,
    usage: whole.usage,
    streamed: chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""),
    streamed_usage: chunks.at(-1).usage,
  };
}

async function uploadInParts() {
  const bytes = fs.readFileSync(path.join(folder, "train.jsonl"));
  const upload = await client.uploads.create({
    bytes: bytes.length,
    filename: "parts.jsonl",
    mime_type: "text/jsonl",
    purpose: "fine-tune",
  });
  const middle = Math.floor(bytes.length / 2);
  const pieces = [bytes.subarray(0, middle), bytes.subarray(middle)];
  const parts = await Promise.all(
    pieces.map((piece) => client.uploads.parts.create(upload.id, { data: new File([piece], "part") })),
  );
  const done = await client.uploads.complete(upload.id, { part_ids: parts.map((part) => part.id) });
  const content = await client.files.content(done.file.id);
  return { status: done.status, same: Buffer.from(await content.arrayBuffer()).equals(bytes) };
}

async function batch() {
  const file = await client.files.create({ file: stream("batch.jsonl"), purpose: "batch" });
  const made = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  const ended = ({ status }) => ["completed", "failed", "expired", "cancelled"].includes(status);
  const done = await until(() => client.batches.retrieve(made.id), ended);
  const output = await client.files.content(done.output_file_id);
  const lines = (await output.text()).trim().split("\n").map((line) => JSON.parse(line));
  return { status: done.status, counts: done.request_counts, custom_ids: lines.map((line) => line.custom_id).sort() };
}

async function refusal() {
  try {
    await client.models.retrieve("ft:no:such::model");
  } catch (error) {
    const { status, code, param, requestID } = error;
    return { is_not_found: error instanceof NotFoundError, status, code, param, request_id: requestID };
  }
  throw new Error("an unknown model was found");
}

async function unwrap() {
  const { payload, headers, secret } = JSON.parse(fs.readFileSync(path.join(folder, "notification.json")));
  return client.webhooks.unwrap(payload, headers, secret);
}

const training = await fineTune();
const seen = {
  ...training,
  jobs: (await collect(client.fineTuning.jobs.list({ limit: 2 }))).map((job) => job.id),
  models: (await collect(client.models.list())).map((model) => model.id),
  chat: await chat(training.job.fine_tuned_model),
  upload: await uploadInParts(),
  batch: await batch(),
  refusal: await refusal(),
  notification: await unwrap(),
  deleted: await client.files.delete(training.file.id),
};
console.log(JSON.stringify(seen));
