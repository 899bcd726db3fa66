"""Wordle and Hangman without downloads: the environments' own rules, our own words.

textarena takes the secret words of both games from corpora that nltk fetches from the network, and asks for them as
soon as the modules are imported. Here the modules are imported with that request switched off, and subclasses put two
word lists in its place: common nouns written down below, and, for the `hardcore` variants, every plain word of the
spelling dictionary that textarena ships. Guesses are checked against that dictionary, so the result is the same on
every machine, whether it has the corpora or not. Words of the games' own messages ("guess", "green", "wrong") are no
secrets: the guard could not tell them from ordinary speech.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

COMMON = """
ball bank barn bath bear bell bird boat bone book boot bowl bush cake calf camp card cave city clay coal coat coin
cook corn crab crew crop desk dish door duck dust exam farm film fire fish flag foot fork frog gate gift girl goat
gold hall hand hill home hook hope iron king kite lake lamb lamp leaf lion lock milk mill moon nest note oven park
path pear pond pool port rain ring road rock roof room rope rose salt sand seat seed ship shoe shop silk snow soap
sock song soup star swan tail taxi team tent town tree tube wall wave well wind wing wolf wood wool yard
actor adult agent alarm album alley angle ankle annex apron arena arrow badge baker basin beach beard beast bench
berry birth blade blaze blood board bonus booth brain brake brand bread break brick bride brook broom brush bunch
cabin cable camel canal candy canoe cargo chain chair chalk charm chart cheek chess chest chief child choir cider
claim class cliff clock cloth cloud coach coast cobra comet coral couch court cover crane cream creek crest crime
crowd crown curve daisy dance depth diary diner ditch donor draft dream dress drill drink drive dwarf eagle earth
elbow entry equal error event fable fairy fault feast fence ferry fever field fight flame flash fleet flesh flint
float flock flood floor flour fluid flute focus forge frame fraud front frost fruit funny ghost giant glass globe
glove grace grade grain grape graph grass grave guard guest guide habit heart hedge heron hinge hobby honey horse
hotel hound house image index inlet ivory jelly jewel joint judge juice karma kayak knife knock label lance laser
laugh layer lemon level lever limit linen lobby logic lunar lunch magic maker manor maple march marsh mayor medal
melon metal meter midst miner model money month motor mount mouse mouth movie music nerve niece night noise north
novel nurse ocean olive onion opera orbit order organ otter owner paint panel panic paper party pasta patch pause
peace peach pearl pedal penny phone photo piano piece pilot pitch plain plane plant plate plaza point porch pouch
pound power press price pride prize proof pulse punch pupil queen quest quilt quote radar radio rally ranch range
rapid ratio razor realm rider ridge rifle river roast robot rodeo route royal ruler salad sauce scale scarf scene
scent scope score scout screw shade shark sheep sheet shelf shell shirt shock shore skate skill skirt skull slate
sleep slice slope smell smile smoke snack snail snake solar sound south space spade spark spear speed spice spike
spine spoon sport spray squad stack staff stage stair stamp stand steam steel stern stick stone stool store storm
story stove straw sugar suite sword table taste thief thigh thorn throw thumb tiger title toast token tooth torch
towel tower trace track trade trail train treat trial tribe trick troop truck trunk trust truth tulip twist uncle
union valve vault verse video villa viola visit voice wagon waist waste watch water whale wheat wheel woman world
wound wrist yacht youth zebra
animal artist autumn banana basket beauty bottle branch bridge bronze bucket butter button camera candle canyon castle
cattle cherry circle coffee copper cotton cousin danger desert dinner doctor donkey dragon engine family farmer father
finger flower forest friend garage garden ginger guitar hammer harbor helmet hunter island jacket jungle kitten ladder
lawyer lizard magnet market meadow mirror monkey mother museum needle office orange oxygen palace parrot pencil pepper
pigeon pillow pirate planet pocket poetry police potato prison puzzle rabbit ribbon rocket saddle sailor salmon school
screen season shadow signal silver singer sister spider spring statue stream street summer sunset temple tennis ticket
tissue tomato tunnel turtle valley velvet violin window winter wizard
airport anchors antenna arrival article balance balcony balloon banquet bargain battery bedroom bicycle biscuit
blanket bravery brother builder butcher cabinet captain caravan cartoon ceiling century chamber channel chapter
charity chicken chimney citizen climate college comfort company compass concert cottage counter country courage
cushion cyclone dentist desktop diamond dolphin drawing elegant emperor evening factory failure feather fiction
firefly fishing freedom freight gallery garbage garment gateway general giraffe glacier grammar gravity grocery
habitat harbour harvest heating highway history holiday horizon hundred iceberg insects journal journey justice
kingdom kitchen lantern laundry leather lecture leopard liberty library luggage machine manager mansion meadows
measure medical mermaid message mineral miracle mission monster morning mystery network nursery octopus offence
orchard orchids outline package painter passage passion patient pattern penguin pioneer plastic plumber pottery
poverty present prophet protein pumpkin pyramid quarter railway rainbow receipt recipes reptile reunion robbery
routine rubbish sailors satchel science scooter section service shelter shuttle silence society soldier speaker
stadium station steward storage stretch student success summary sunrise surface surgeon teacher textile theatre
thunder traffic tragedy trainer tribute trumpet uniform vacancy variety vehicle venture village vinegar violets
volcano warrior weather website welcome whisper wildcat witness workers
"""

SPOKEN = frozenset(
    """
    allowed already another apple been before both brackets choose columns correct could count different does
    english exactly feedback format found game games green guess guessed guesses have left length letter letters
    light lives more move must only other over place please position read reason response revealed round square
    squares submitted such take taken target that there this tried tries turn turns valid were which whole will with
    without word words wrong your
    """.split()
)  # words of the games' messages


def common(length: int | None = None) -> tuple[str, ...]:
    """The common words, each once and sorted; with `length`, those of that many letters."""
    return tuple(sorted({w for w in COMMON.split() if length in (None, len(w))}))


@lru_cache(maxsize=8)
def plain(length: int | None = None) -> tuple[str, ...]:
    """The lower-case base words of 4 to 10 letters of textarena's American dictionary, sorted."""
    from importlib.resources import files

    lines = files("textarena.envs.utils.data").joinpath("en_US.dic").read_text(encoding="utf-8").splitlines()[1:]
    words = {line.split("/")[0].strip() for line in lines}
    wanted = range(4, 11) if length is None else (length,)
    return tuple(sorted(w for w in words - SPOKEN if len(w) in wanted and w.isascii() and w.isalpha() and w.islower()))


def is_word(text: str) -> bool:
    """Whether the dictionary or the list above knows a word."""
    return text in _common() or _dictionary().is_english_word(text)


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(common())


@lru_cache(maxsize=1)
def _dictionary() -> Any:
    with no_downloads():
        from textarena.envs.utils.word_lists import EnglishDictionary

        return EnglishDictionary(keep_proper_nouns=False, include_nltk=False)


@contextmanager
def no_downloads() -> Iterator[None]:
    """nltk answers requests for its corpora with "no" for the length of the block."""
    import nltk

    before, nltk.download = nltk.download, lambda *_, **__: False
    try:
        yield
    finally:
        nltk.download = before


@lru_cache(maxsize=1)
def _wordle() -> Any:
    with no_downloads():
        from textarena.envs.Wordle.env import WordleEnv

    class OfflineWordle(WordleEnv):
        """textarena's Wordle on the word lists of this module."""

        def __init__(self, word_length: int = 5, num_guesses: int = 6, hardcore: bool = False) -> None:
            self.word_length, self.num_guesses = word_length, num_guesses
            self.hardcore = hardcore
            if not self.word_list:
                raise ValueError(f"there are no common words of {word_length} letters; set `hardcore: true`")

        @property
        def word_list(self) -> tuple[str, ...]:
            return plain(self.word_length) if self.hardcore else common(self.word_length)

        def _check_word(self, word: str) -> bool:
            return is_word(word)

    return OfflineWordle


@lru_cache(maxsize=1)
def _hangman() -> Any:
    with no_downloads():
        from textarena.envs.Hangman.env import HangmanEnv

    class OfflineHangman(HangmanEnv):
        """textarena's Hangman on the word lists of this module."""

        def __init__(self, hardcore: bool = False) -> None:
            self.hardcore = hardcore

        @property
        def word_list(self) -> tuple[str, ...]:
            return plain() if self.hardcore else common()

    return OfflineHangman


def wordle(**params: Any) -> Any:
    return _wordle()(**params)


def hangman(**params: Any) -> Any:
    return _hangman()(**params)
