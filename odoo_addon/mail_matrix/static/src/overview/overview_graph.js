import {onWillStart, useState} from "@odoo/owl";
import {GraphRenderer} from "@web/views/graph/graph_renderer";
import {graphView} from "@web/views/graph/graph_view";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";

/** The graph of deliveries, under a red banner while no worker runs. */
export class MatrixOverviewRenderer extends GraphRenderer {
    static template = "mail_matrix.OverviewGraphRenderer";

    setup() {
        super.setup();
        const orm = useService("orm");
        this.matrix = useState({alert: false});
        onWillStart(async () => {
            this.matrix.alert = await orm.call("matrix.backend", "get_worker_alert", []);
        });
    }
}

registry
    .category("views")
    .add("matrix_overview_graph", {...graphView, Renderer: MatrixOverviewRenderer});
