"""Policy and control: the settings, what an agent may do, and who may stop and release it. Pure, no I/O."""
