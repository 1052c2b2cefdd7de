"""Champion against challenger, bar by bar: evidence that holds however often one looks at it."""
