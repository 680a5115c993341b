"""Recipes of ours for other programs, made fit for a test."""


def adapted(recipe: str, changes: dict[str, str]) -> str:
    """The recipe with this machine's ports and files in it; what a change looks for must be there."""
    for old, new in changes.items():
        assert old in recipe, old
        recipe = recipe.replace(old, new)
    return recipe
