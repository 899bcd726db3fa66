"""Recipes: one YAML file that says everything about a run, checked before anything starts.

Keys are strict: an unknown one is refused with the nearest known name. `sections.py` has the sections and their
defaults, `whole.py` the recipe that they make, `reading.py` how a file becomes one.
"""

from __future__ import annotations

from rl2f_hub.recipe.reading import load_recipe, recipe_files
from rl2f_hub.recipe.sections import (
    CritiquePhaseSpec,
    DialogueSpec,
    EngineSpec,
    EvaluateSpec,
    GenerateSpec,
    HubSpec,
    LessonSpec,
    LoraSpec,
    ModelSpec,
    OfflineSpec,
    ScratchSpec,
    TrainSpec,
    WarmupSpec,
)
from rl2f_hub.recipe.task_sections import SourceSpec, TasksSpec
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.recipe.whole import Recipe

__all__ = [
    "CritiquePhaseSpec",
    "DialogueSpec",
    "EngineSpec",
    "EvaluateSpec",
    "GenerateSpec",
    "HubSpec",
    "LessonSpec",
    "LoraSpec",
    "ModelSpec",
    "OfflineSpec",
    "Recipe",
    "ScratchSpec",
    "SourceSpec",
    "TasksSpec",
    "TeacherSpec",
    "TrainSpec",
    "WarmupSpec",
    "load_recipe",
    "recipe_files",
]
