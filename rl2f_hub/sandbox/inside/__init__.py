"""What runs inside the sandbox: standard library only, imported by no other part of the package.

`zygote` is the process that every job is forked from, `lockdown` what a fork does to itself before it runs foreign
code, `plain` and `link` how an attempt and its tests talk, `attempt` and `checks` the two ends of that.
"""
