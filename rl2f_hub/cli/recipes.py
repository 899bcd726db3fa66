"""`rl2f recipes list | show`."""

from __future__ import annotations

import json

import typer

from rl2f_hub.cli.shared import JsonOpt, RecipeArg, SetOpt

app = typer.Typer(no_args_is_help=True, help="The recipes that come with rl2f_hub.")


@app.command("list")
def recipes_list(as_json: JsonOpt = False) -> None:
    """Names and descriptions."""
    from rl2f_hub.recipe import load_recipe, recipe_files

    rows = [{"name": file.parent.name, "description": load_recipe(file).description} for file in recipe_files()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            typer.echo(f"{row['name']:<24} {row['description']}")


@app.command("show")
def recipes_show(recipe: RecipeArg, overrides: SetOpt = None) -> None:
    """The recipe with all defaults filled in, as YAML."""
    import yaml

    from rl2f_hub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False).rstrip())
    typer.echo(f"# fingerprint: {loaded.fingerprint}")
