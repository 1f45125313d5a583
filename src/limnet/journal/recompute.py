"""A session's prompts, given once more: what the networks make of them today."""

from __future__ import annotations

from limnet.prompt import Box, Click, Lasso, Prompt, Scribble
from limnet.session import Session


def recompute(session: Session) -> Session:
    """A new session with the same volume and networks, given the same prompts, round by round.

    Rounds that were a mask from elsewhere are taken over; what was undone is left out.
    """
    again = Session(
        session.volume,
        session.model,
        fusion=session.fusion,
        crossing=session.crossing,
        overview=session.overview,
        memory=session.memory,
    )
    for done in session.rounds:
        if done.prompts:
            for prompt in done.prompts:
                give(again, prompt, done.axis)
            again.propagate()
        else:
            again.history.apply(done)
    for prompt in session.pending:
        give(again, prompt, session.axis)
    return again


def give(session: Session, prompt: Prompt, axis: int) -> None:
    """Give a prompt of any kind, on a slice along `axis`."""
    if isinstance(prompt, Click):
        session.click(prompt.index, prompt.positive, axis)
    elif isinstance(prompt, Box):
        session.box(prompt.low, prompt.high, prompt.positive, axis)
    elif isinstance(prompt, Lasso):
        session.lasso(prompt.points, prompt.positive, axis)
    elif isinstance(prompt, Scribble):
        session.scribble(prompt.points, prompt.positive, axis)
    else:
        session.paint(prompt.mask, prompt.index, axis)
