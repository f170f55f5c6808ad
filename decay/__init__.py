"""An instrument that shows how an image model forgets."""

from decay.privacy import seal

seal()
