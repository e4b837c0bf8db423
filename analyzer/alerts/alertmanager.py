"""An example of a route for Alertmanager: who is woken, and what is left for the morning."""

from __future__ import annotations

from typing import Final

from analyzer.alerts.yaml import emit

FILE: Final = "alertmanager.example.yml"


def example() -> str:
    """A configuration that `amtool check-config` accepts; its receivers are to be filled in."""
    return _HEAD + emit(
        {
            "route": {
                "receiver": "flyball-morning",
                # One message per agent and failure, however many of its runs fail at once.
                "group_by": ["alertname", "agent_name"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": "12h",
                "routes": [
                    {"matchers": ['severity="critical"', 'alertname=~"Flyball.*"'], "receiver": "flyball-page", "repeat_interval": "1h"}
                ],
            },
            # The warning adds nothing while the critical alert of the same name and agent fires.
            "inhibit_rules": [
                {
                    "source_matchers": ['severity="critical"', 'alertname=~"Flyball.*"'],
                    "target_matchers": ['severity="warning"', 'alertname=~"Flyball.*"'],
                    "equal": ["alertname", "agent_name", "model"],
                }
            ],
            "receivers": [
                {"name": "flyball-page", "webhook_configs": [{"url": "http://127.0.0.1:9/page"}]},
                {"name": "flyball-morning", "webhook_configs": [{"url": "http://127.0.0.1:9/morning"}]},
            ],
        }
    )  # fmt: skip


_HEAD: Final = "# An example: put your own receivers in place of the two addresses.\n"
