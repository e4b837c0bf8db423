"""What each tool call of some runs does to the world (`instrument.effects`), for whole frames."""

from __future__ import annotations

import polars as pl

from analyzer.frames import Frames
from instrument.effects import Effect, effect_of_command, effect_of_name

__all__ = ["Effect", "effects"]


def effects(frames: Frames, calls: pl.DataFrame) -> pl.DataFrame:
    """`calls` (with `run_key`, `step`, `span_key`, `tool_name`, and best `frames.ASKED`) plus `effect`; shells' arguments are read."""
    names = calls["tool_name"].drop_nulls().unique().to_list()
    by_name = {name: str(effect_of_name(name)) for name in names}
    judged = calls.with_columns(
        effect=pl.col("tool_name").replace_strict(by_name, default=str(Effect.LOOKS), return_dtype=pl.String)
    )
    shells = judged.filter(effect=str(Effect.COMMANDS))
    if shells.is_empty():
        return judged
    commands = frames.said(shells.select("run_key", "step", "span_key", "^asked$"), ["arguments"])
    effect = pl.Series("command", [str(effect_of_command(a)) for a in commands["arguments"]], dtype=pl.String)
    told = commands.select("run_key", "step", effect)
    return judged.join(told, on=["run_key", "step"], how="left", maintain_order="left").select(
        *calls.columns, effect=pl.when(pl.col("effect") == str(Effect.COMMANDS)).then("command").otherwise("effect")
    )
