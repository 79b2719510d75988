"""What self-contained HTML pages share: template, style, sortable tables, small pictures, charts.

A page carries everything it needs and asks for nothing from elsewhere. Text of users is escaped by the templates.
"""
