"""Students: where the policy's weights come from. `scratch` builds a small one, `load` opens existing ones."""
