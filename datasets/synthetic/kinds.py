"""What rendered scenes there are, by name. Light: programs read it before they load the renderer."""

PLACES = ("room", "outdoor")
PLACE_STYLES = (*PLACES, "mixed")  # mixed: by the seed
RIGS_OF_PLACES = ("video", "ahead", "turn", "along", "orbit")
