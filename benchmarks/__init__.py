"""Speed, measured side by side: each benchmark runs a plain loop and the platform's way in turn, and gives ratios."""
