// An agent in Node, recorded by the environment alone: `node export.mjs http/json|http/protobuf`, with OTEL_EXPORTER_OTLP_ENDPOINT set.
import { SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const exporter = process.argv[2] === "http/json" ? new JsonExporter() : new ProtobufExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
provider.register();
const tracer = provider.getTracer("node-agent", "1.2.3");

tracer.startActiveSpan("invoke_agent", { attributes: { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": process.argv[2] } }, (agent) => {
  const call = tracer.startSpan("chat claude-sonnet-4-5", {
    kind: SpanKind.CLIENT,
    attributes: {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "anthropic",
      "gen_ai.request.model": "claude-sonnet-4-5",
      "gen_ai.response.finish_reasons": ["tool_use"],
      "gen_ai.usage.input_tokens": 1200,
      "gen_ai.usage.output_tokens": 34,
    },
  });
  call.end();
  const tool = tracer.startSpan("execute_tool search", {
    attributes: {
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": "search",
      "gen_ai.tool.call.arguments": JSON.stringify({ query: "naïve ☕\nline" }),
    },
  }, trace.setSpan(context.active(), agent));
  tool.recordException(new TypeError("no such index"));
  tool.setStatus({ code: SpanStatusCode.ERROR, message: "no such index" });
  tool.end();
  agent.end();
});

await provider.shutdown();
