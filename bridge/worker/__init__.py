"""What happens after the answer: translate, forward, and the jobs beside."""
