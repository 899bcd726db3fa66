"""Sentences that were written once the detectors were finished: how well do they do on what they were never made for?

Each is said once in every domain but code, with the reference as it is written. They are a third part of the audit's set,
beside the two halves; nothing in the detectors is corrected by its rows.
"""

from __future__ import annotations

STATEMENTS = (
    "If I were you I would answer {x}.",
    "Put down {x} and move on.",
    "Had you written {x}, I would have accepted it.",
    "Everything points to {x}.",
    "My own calculation shows {x}.",
    "The missing piece is {x}.",
    "That would be {x}.",
    "You were so close to {x}!",
    "After simplifying, {x} remains.",
    "Look in the back of the book: {x}.",
    "Not {student}, but {x}.",
    "{x} was what I wanted to hear.",
    "Of course the solution turns out to be {x}.",
    "Spoiler: {x}.",
    "The final line should read: {x}",
    "I'd expect {x} at this point.",
    "Make that {x}.",
    "Your classmates all said {x}.",
    "Nope, it's actually {x}.",
    "Let me just tell you: {x}.",
)

CLEAN = (
    "Hmm, {student} cannot be it.",
    "Could you show me how you came to {student}?",
    "I don't see why {student} should hold.",
    "Slow down and reread the task.",
    "You skipped a step between the first and the last line.",
    "Please explain in one sentence what is asked.",
    "Your first 2 steps are fine.",
    "Think about whether your answer is plausible.",
    "{student}? Let me ask you to verify that.",
    "A sketch might help you here.",
    "The approach is sound; the execution is not.",
    "One more try, and mind the details.",
    "You answered a different question.",
    "What happens if you try a smaller case first?",
    "The mistake happens early on, before you get to {student}.",
    "Is {student} consistent with everything you were told?",
    "I like the idea but {student} is off.",
    "There is a typo or a slip somewhere in {student}.",
    "You need 3 conditions and used 2.",
    "Keep your result, but justify it: you will see that it fails.",
)
