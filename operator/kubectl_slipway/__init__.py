"""`kubectl slipway`: what a ModelDeployment does and why, for a person at a terminal.

It talks to the Kubernetes API only, through the user's own kubectl, and never to the operator. It shares names with the
operator (slipway.api.names) and no code. Imports are lazy: `--help` and a shell's completion must answer at once.

    arguments   what may be asked           kubectl, follow   the only doors: one process per question, one per watch
    get         the verb                    pods, view        pure: objects → frozen lines
    completion  for the shell               words, plain, tree, document   lines → text, a rich tree, JSON
"""
