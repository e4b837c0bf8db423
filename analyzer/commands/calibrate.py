"""`flyball calibrate`: a policy from the user's own good runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analyzer.commands import exits
from analyzer.commands.store import opened


def register(commands: Any) -> None:
    """Adds the command to argparse's sub-commands."""
    parser = commands.add_parser(
        "calibrate",
        help="propose a policy from your own good runs",
        description="Proposes stop lines from recorded good runs, so that at most a stated share of further good runs is stopped, "
        "and writes them as a policy file with the reason for each number.",
        epilog="Runs count as good where their outcome says so (recorded, or in --outcomes); --assume-good takes all that did not fail. "
        "Exit status: 0 done, 2 too few good runs, unreadable input or bad usage.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="database, trace file, folder or glob")
    add(
        "--out",
        metavar="FILE",
        type=Path,
        help="policy file to write; without it the terminal. With --per-agent a folder",
    )
    add(
        "--alpha",
        metavar="SHARE",
        type=_share,
        default=0.05,
        help="share of good runs that may be stopped (default 0.05)",
    )
    add("--outcomes", metavar="FILE", type=Path, help="CSV with a run id (or trace id) and success or failure per line")
    add("--assume-good", action="store_true", help="take runs for good of which nobody says that they failed")
    add("--agent", metavar="NAME", help="only runs of this agent")
    add("--per-agent", action="store_true", help="a policy for each agent that has enough runs")
    parser.set_defaults(run=run, fail=parser.error)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def run(args: argparse.Namespace) -> int:
    """Writes the policy, and what it would have done to all runs before and after. Raises `FlyballError`."""
    from analyzer.calibrate import TooFewRuns, calibrate
    from analyzer.outcomes import read_outcomes
    from analyzer.replay import reached, replay
    from analyzer.report import replay_text
    from instrument.policy import parse_policy, policy_tables
    from instrument.prices import parse_prices

    if args.per_agent and args.out is None:
        args.fail("--per-agent needs --out FOLDER")
    tables, path = policy_tables(None)
    base, outcomes = parse_policy(tables, path), read_outcomes(args.outcomes) if args.outcomes else {}
    prices = parse_prices(tables)
    with opened(args.paths, None, prices) as store:
        runs = [
            r for r in reached(store.con, outcomes, prices, base) if args.agent is None or r.agent_name == args.agent
        ]
        good = [r for r in runs if r.succeeded is True or (args.assume_good and r.succeeded is None)]
        groups = {None: good} if not args.per_agent else _by_agent(good)
        written = 0
        for agent, own in groups.items():
            try:
                found = calibrate(own, alpha=args.alpha)
            except TooFewRuns as e:
                if not args.per_agent:
                    raise
                print(f"flyball: {agent or 'unnamed agent'}: {e}", file=sys.stderr)
                continue
            written += 1
            _write(found.toml(), args.out, (agent or "unnamed") if args.per_agent else None)
            if not args.per_agent:
                replays = {
                    "before": replay(store.con, base, outcomes),
                    "after": replay(store.con, found.policy(base), outcomes),
                }
                from analyzer.commands.terminal import look

                out = sys.stderr if args.out is None else sys.stdout
                out.write(replay_text.as_text(replays, look()))
    return exits.FINE if written else exits.UNUSABLE


def _by_agent(runs: list[Any]) -> dict[str | None, list[Any]]:
    found: dict[str | None, list[Any]] = {}
    for one in runs:
        found.setdefault(one.agent_name, []).append(one)
    return found


def _write(text: str, out: Path | None, agent: str | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    target = out
    if agent is not None or out.is_dir():
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in agent or "agent")[:80]
        out.mkdir(parents=True, exist_ok=True)
        target = out / f"{safe}.toml"
    target.write_text(text, "utf-8")
    print(f"wrote {target}")
