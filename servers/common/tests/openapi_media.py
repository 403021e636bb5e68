"""What schemathesis does not know of the servers: their media types."""

import schemathesis


@schemathesis.serializer("application/jsonl")
def jsonl(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.deserializer("application/jsonl", "text/event-stream", "application/octet-stream")
def opaque(ctx, response):
    return response.content.decode("utf-8", "replace")
