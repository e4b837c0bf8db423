"""A person is asked before a run spends more than a line; without an answer it ends, and goes on once there is one."""

import anthropic
import msgspec

import instrument
from instrument.policy import Review

instrument.record("traces.duckdb")
policy = msgspec.structs.replace(
    instrument.load_policy(),
    review=Review(over_usd=0.002, timeout_seconds=0.1, on_timeout="pause"),
)
runner = instrument.GuardedRunner(
    anthropic.Anthropic(), model="claude-sonnet-5-5", policy=policy, max_tokens=1000, ledger="reviews.ledger"
)
result = runner.run("Write a long report about flyball governors.", user_id="ann")
print(result.stop_reason, result.review_id)

# In a terminal: flyball reviews list --ledger reviews.ledger
#                flyball reviews approve ID --ledger reviews.ledger
ledger = instrument.open_ledger("reviews.ledger")
ledger.decide(result.review_id, approved=True, by="bea", note="the customer pays")

result = runner.resume(result.review_id)  # in this process or in any other
print(result.stop_reason, result.answer)
