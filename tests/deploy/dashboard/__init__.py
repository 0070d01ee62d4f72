"""The source of helm/fanline/dashboards/fanline.json: what is shown (panels_*.py), how a panel looks (look.py), and how they
stand together (page.py). UPDATE_DASHBOARD=1 writes the file anew, in test_dashboard.py."""
