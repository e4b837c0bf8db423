"""`flyball serve`: an OTLP/HTTP receiver, so that agents in any language are recorded by setting one environment variable.

A request goes through `app` (HTTP), `protobuf` or `documents` (what is in it), `redaction` (what of it may be written) and `receiver`
into the journal; then it is answered. `checkpointing`, a process of its own, brings the journal into the database.
"""
