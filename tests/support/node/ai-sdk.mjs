// What the AI SDK sees of the server through its default, the Responses API; prints it as one JSON object.
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [labels, agent] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: "any" });
const settings = { temperature: 0, maxRetries: 0 };
const schema = z.object({ label: z.string(), sure: z.boolean() });
const getWeather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `${city}: sunny`,
});

const text = { model: openai(labels), prompt: "text 3", system: "Be brief.", ...settings };
const object = { model: openai(labels), schema, prompt: "text 1", ...settings };
const weather = { model: openai(agent), tools: { get_weather: getWeather }, prompt: "weather in Oslo?", ...settings };

const whole = await generateText(text);
const streamed = streamText(text);
let pieces = "";
for await (const piece of streamed.textStream) pieces += piece;
const streamedObject = streamObject(object);
for await (const _ of streamedObject.partialObjectStream);
const forced = await generateText({ ...weather, toolChoice: { type: "tool", toolName: "get_weather" } });
const history = [
  { role: "user", content: "text 3" },
  ...whole.response.messages,
  { role: "user", content: "text 3" },
];
const seen = {
  whole: [whole.text, whole.finishReason, whole.usage.totalTokens],
  streamed: [pieces, await streamed.finishReason, (await streamed.usage).totalTokens],
  object: (await generateObject(object)).object,
  streamed_object: await streamedObject.object,
  chat_object: (await generateObject({ ...object, model: openai.chat(labels) })).object,
  forced: forced.toolCalls.map(({ toolName, input }) => [toolName, input]),
  loop: (await generateText({ ...weather, stopWhen: stepCountIs(3) })).text,
  streamed_loop: await streamText({ ...weather, stopWhen: stepCountIs(3) }).text,
  history: (
    await generateText({
      ...text,
      prompt: undefined,
      messages: history,
      providerOptions: { openai: { store: false } },
    })
  ).text,
};
console.log(JSON.stringify(seen));
