"""What a writing task is about: things, settings and tones, and the words that a requirement may ask for.

The first lists are for training; `UNSEEN` ones are held out, so that an evaluation can ask about things that no stage
has read as a topic. All are common English words of one token or two in most vocabularies.
"""

from __future__ import annotations

THINGS = (
    "apple bag ball balloon banjo barn basket bear bell bench bicycle bird blanket boat book bottle bowl box bridge "
    "broom brush bucket bus butterfly button cake camera candle car carpet castle cat chair cherry church clock "
    "cloud coat coin cook cow crab crayon crow cup curtain desk doctor dog doll door dragon dress drum duck eagle "
    "egg elephant engine farmer feather fence fish flag flower flute fork fountain fox frog garden gate ghost giraffe "
    "glove goat grandmother guitar hammer hat hen horse hotel jacket jar kettle key king kite kitten knight ladder lake "
    "lamp leaf lemon letter lion lizard map market mask melon mirror monkey moon mountain mouse needle nest net "
    "nurse oak ocean onion owl painter pan parrot pencil penguin piano pie pig pillow pilot pirate plane planet plate "
    "pony pool postcard potato puppy queen rabbit radio ring river road robot rocket roof rope rose sailor sandwich "
    "scarf school sheep ship shirt shoe shop singer sister snail snake sock sofa soldier spider spoon squirrel "
    "stone storm swan table teacher tent tiger tower toy tractor train tree truck turtle uncle vase village violin "
    "wagon wall watch whale wheel window wizard wolf"
).split()
UNSEEN_THINGS = (
    "anchor baker beetle canoe cactus camel donkey dolphin envelope falcon fiddle giant hedgehog helmet igloo island "
    "jungle kangaroo lantern lighthouse magnet museum notebook octopus orchard palace pumpkin quilt raccoon "
    "satellite scarecrow sled statue submarine suitcase telescope trumpet umbrella volcano walnut windmill zebra"
).split()
SETTINGS = (
    "in the morning",
    "at night",
    "in the rain",
    "in winter",
    "on a hill",
    "near the sea",
    "in a small town",
    "by the road",
    "in the kitchen",
    "under the stars",
    "on a Sunday",
    "in the forest",
    "at the station",
    "in spring",
    "on the farm",
    "behind the house",
    "in the snow",
    "at a party",
    "in the city",
    "on a long trip",
    "at school",
    "in the desert",
    "after lunch",
    "before dinner",
    "in autumn",
    "on the beach",
    "in the fog",
    "at sunrise",
    "in an old house",
    "at the museum gate",
    "next to a pond",
    "in the attic",
    "on the stairs",
    "in the sunshine",
    "at the end of the day",
    "in a quiet street",
    "during a storm",
    "on holiday",
    "in the yard",
    "across the field",
)
UNSEEN_SETTINGS = (
    "at the harbour",
    "in the laundry room",
    "on a train platform",
    "in the moonlight",
    "at the bakery",
    "on a rooftop",
    "in the waiting room",
    "by the fireplace",
    "at the zoo",
    "in the cellar",
)
TONES = (
    "",
    "funny",
    "calm",
    "sad",
    "cheerful",
    "simple",
    "strange",
    "friendly",
    "short",
    "quiet",
    "exciting",
    "gentle",
)
PROMPTS = (
    "Write one {tone}sentence about {topic} {setting}.",
    "Please write a single {tone}sentence about {topic} {setting}.",
    "Give me one {tone}sentence about {topic} {setting}.",
    "I need one {tone}sentence about {topic} {setting}.",
    "In one {tone}sentence, tell me about {topic} {setting}.",
)
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink", "purple", "orange", "grey", "golden")
NAMES = ("Maria", "Tom", "Anna", "Ben", "Lucy", "Oscar", "Emma", "Leo", "Nina", "Paul", "Sara", "Max")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty", "forty")
OPENERS = ("Today", "Once", "Suddenly", "Yesterday", "Sometimes", "Maybe", "Quietly", "Slowly", "Tonight", "Outside")
CLOSERS = ("again", "today", "alone", "together", "forever", "slowly", "outside", "tomorrow", "quickly", "already")
AVOIDED = ("the", "and", "very", "is", "was", "with", "in")


def with_article(noun: str) -> str:
    """`a lamp`, `an apple`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
