"""What only the bundled checkpoint ``street`` needs: its data, its recipe, its ablation."""
