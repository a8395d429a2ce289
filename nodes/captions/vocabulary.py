"""Words that the room knows. English, and the particles of Japanese."""

_FUNCTION_WORDS = """
a an the this that these those some any each other another both and or nor but of in on at by for from to into onto with
without over under above below behind beside between near next front around across through against as than then is are
was were be been being am has have had having do does did can could will would shall should may might must it its he him
his she her hers they them their theirs we our you your i me my there here who whom whose which what while when where
how not no very quite such up down out off only own same so too just also 's wear wears wearing worn dressed appears
seems seen shown shows showing depicts depicting features featuring
は が を に で と も の へ や
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())  # that say nothing alone

_CLASS_NOUNS = """
woman man girl boy person female male lady gentleman guy child kid teenager baby dog cat horse bird animal creature
robot monster dragon elf character women men girls boys people
"""
CLASS_NOUNS = frozenset(_CLASS_NOUNS.split())  # what a character may be, where nobody says what it is

COUNT_TAGS = frozenset({"1girl", "1boy", "1other", "solo"})  # booru's: how many are in the picture

# What is named on purpose in every caption, since it is not the character: how the picture was made, what is around.
_SURROUNDINGS = """
background backdrop photo photograph photography picture image lighting light quality masterpiece highres absurdres
drawing illustration render artwork painting sketch portrait closeup style shot view
"""
POSES = frozenset({"standing", "sitting", "posing", "looking", "camera", "viewer"})
SURROUNDINGS = frozenset(_SURROUNDINGS.split()) | POSES

CONJUNCTIONS = frozenset({"and", "or"})

_CAPITALISED = """
i monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september
october november december english american british french german italian spanish japanese chinese korean indian african
asian european victorian gothic christmas halloween easter earth tv
"""
CAPITALISED = frozenset(_CAPITALISED.split())  # words with a capital that are no character's name
