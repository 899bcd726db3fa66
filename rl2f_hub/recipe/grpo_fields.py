"""Which fields of TRL's GRPOConfig a recipe may set as `train.grpo`: none that says where a run writes or pushes to.

An allow list, so that a field of a later TRL is refused until somebody has looked at it. What the recipe has a key of its
own for (`train.steps`, `seed`, ...) is not in it, nor what loads code, states or settings from elsewhere, nor what makes
something public. `push_to_hub` is: the pipeline names the repository and its visibility.
"""

from __future__ import annotations

import json
from typing import Any

from rl2f_hub.errors import did_you_mean

LOCAL_TRACKERS = ("none", "tensorboard", "trackio")  # they write on this machine and need no account
GRPO_FIELDS = frozenset(
    """
    activation_checkpointing activation_checkpointing_kwargs adam_beta1 adam_beta2 adam_epsilon
    average_tokens_across_devices beta bf16 cast_lm_head_to_fp32 dataloader_num_workers dataloader_pin_memory
    dataloader_prefetch_factor ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters
    ddp_static_graph ddp_timeout delta disable_dropout disable_tqdm ds3_gather_for_generation entropy_coef
    entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target epsilon epsilon_high fp16 full_determinism
    gradient_checkpointing gradient_checkpointing_kwargs hub_always_push hub_strategy importance_sampling_level
    label_smoothing_factor log_completions log_level log_unique_prompts logging_first_step logging_nan_inf_filter
    logging_steps logging_strategy loss_type lr_scheduler_kwargs lr_scheduler_type mask_truncated_completions
    max_grad_norm multi_objective_aggregation neftune_noise_alpha num_completions_to_print num_iterations
    off_policy_mask_threshold optim optim_args optim_target_modules pad_to_multiple_of push_to_hub
    ref_model_mixup_alpha ref_model_sync_steps report_to reward_weights router_aux_loss_coef sapo_temperature_neg
    sapo_temperature_pos save_only_model save_strategy save_total_limit scale_rewards shuffle_dataset sync_ref_model
    tf32 top_entropy_quantile top_p torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps
    use_adaptive_entropy use_bias_correction_kl use_cpu use_liger_kernel vespo_k_neg vespo_k_pos vespo_lambda_neg
    vespo_lambda_pos warmup_steps weight_decay
    """.split()
)


def check_grpo(values: dict[str, Any]) -> dict[str, Any]:
    """The values, if a recipe may set them.

    Raises:
        ValueError: one line with field, value and fix.
    """
    for name, value in values.items():
        shown = "***" if "token" in name else json.dumps(value)[:80]
        if name not in GRPO_FIELDS:
            raise ValueError(
                f"{name}: {shown} is refused, a recipe may not set this{did_you_mean(name, GRPO_FIELDS)}; leave it out or "
                "set the recipe's own key: use field names of TRL's GRPOConfig that docs/gpu.md lists"
            )
        named = value if isinstance(value, list) else [value]
        if name == "report_to" and not all(each is None or each in LOCAL_TRACKERS for each in named):
            raise ValueError(
                f"{name}: {shown} is refused, a recipe reports to no account of yours; choose from {', '.join(LOCAL_TRACKERS)}"
            )
    return values
