import {Component} from "@odoo/owl";
import {ListRenderer} from "@web/views/list/list_renderer";
import {MatrixSetup} from "@mail_matrix/setup/setup";
import {listView} from "@web/views/list/list_view";
import {registry} from "@web/core/registry";

/** The list of backends, below the first steps. */
export class MatrixBackendListRenderer extends Component {
    static template = "mail_matrix.BelowSetup";
    static components = {MatrixSetup};
    static props = ["*"];
    renderer = ListRenderer;
}

registry.category("views").add("matrix_backend_list", {
    ...listView,
    Renderer: MatrixBackendListRenderer,
});
